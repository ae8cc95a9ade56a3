"""The verdict table, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from memorystack_operator.core.evidence import Finding, Findings, Tally
from memorystack_operator.core.phrases import multiple
from memorystack_operator.core.verdict import Case, Judged, Outcome, Reason, judge


def findings(*holds: str, enough: bool = True) -> Findings:
    def one(name: str) -> Finding:
        return Finding(5.0 if name in holds else 1.0, 4.6)

    return Findings(*(one(n) for n in ("over", "stable_over", "worse", "within", "better")), enough)


def op(
    *holds: str,
    name: str = "store",
    enough: bool = True,
    before: bool = False,
    over_for: int = 0,
    requests: int = 100,
    proof: float | None = None,
):
    return Judged(
        name,
        "250ms",
        findings(*holds, enough=enough),
        Tally(requests, 20),
        Tally(200, 10),
        before,
        timedelta(seconds=over_for),
        None if proof is None else Finding(proof, 3.0),
    )


ROWS = [
    ("1 no data", Case((op("over", "worse"),), no_data=True), Outcome.HOLD, Reason.METRICS_UNAVAILABLE),
    ("2 no requests", Case((op(requests=0),)), Outcome.HOLD, Reason.NO_TRAFFIC),
    ("3 over and worse", Case((op("over", "worse", "stable_over"),)), Outcome.ROLLBACK, Reason.P95_OVER_BUDGET),
    ("3 before the bake time", Case((op("over", "worse"),), early=True), Outcome.ROLLBACK, Reason.P95_OVER_BUDGET),
    ("3 not before 30 requests", Case((op("over", "worse", enough=False),)), Outcome.CONTINUE, Reason.TOO_FEW_REQUESTS),
    (
        "3 one of two",
        Case((op("within"), op("over", "worse", name="recall"))),
        Outcome.ROLLBACK,
        Reason.P95_OVER_BUDGET,
    ),
    (
        "errors",
        Case((op("within"),), errors=op("over", "worse", name="failed")),
        Outcome.ROLLBACK,
        Reason.ERRORS_OVER_BUDGET,
    ),
    ("errors alike", Case((op("within"),), errors=op("over")), Outcome.PROMOTE, Reason.WITHIN_BUDGET),
    ("4 worse when over before", Case((op("worse", before=True),)), Outcome.ROLLBACK, Reason.WORSE),
    ("4 worse alone", Case((op("worse"),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("5 both over", Case((op("over", "stable_over"),)), Outcome.WITHDRAW, Reason.ENVIRONMENT_OVER_BUDGET),
    ("5 within the grace", Case((op("over", over_for=59),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("5 after the grace", Case((op("over", over_for=60),)), Outcome.WITHDRAW, Reason.SUSPECTED_OVER_BUDGET),
    (
        "5 not when over before",
        Case((op("over", "stable_over", before=True),)),
        Outcome.CONTINUE,
        Reason.GATHERING_EVIDENCE,
    ),
    ("6 bake time", Case((op("within"),), early=True), Outcome.CONTINUE, Reason.BAKING),
    ("7 improves", Case((op("better", "over", before=True),)), Outcome.PROMOTE, Reason.IMPROVES),
    ("7 better but not over before", Case((op("better"),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("8 within", Case((op("within"),)), Outcome.PROMOTE, Reason.WITHIN_BUDGET),
    ("8 every operation", Case((op("within"), op(name="recall"))), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    (
        "8 silent ones do not count",
        Case((op("within"), op(name="recall", requests=0))),
        Outcome.PROMOTE,
        Reason.WITHIN_BUDGET,
    ),
    ("8 not while over", Case((op("within", "over"),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("8 by pairs", Case((op(proof=3.0),)), Outcome.PROMOTE, Reason.WITHIN_BUDGET),
    ("8 by pairs, not yet", Case((op(proof=2.9),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("8 by pairs, not while over", Case((op("over", proof=9.0),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("8 by pairs, not while worse", Case((op("worse", proof=9.0),)), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    (
        "8 by pairs, every operation",
        Case((op(proof=9.0), op(name="recall", proof=0.0))),
        Outcome.CONTINUE,
        Reason.GATHERING_EVIDENCE,
    ),
    (
        "8 one by pairs, one plain",
        Case((op(proof=9.0), op("within", name="recall"))),
        Outcome.PROMOTE,
        Reason.WITHIN_BUDGET,
    ),
    (
        "8 by pairs, not before 30 requests",
        Case((op(proof=9.0, enough=False),)),
        Outcome.CONTINUE,
        Reason.TOO_FEW_REQUESTS,
    ),
    ("3 outranks pairs", Case((op("over", "worse", proof=9.0),)), Outcome.ROLLBACK, Reason.P95_OVER_BUDGET),
    (
        "5 outranks pairs",
        Case((op("over", "stable_over", proof=9.0),)),
        Outcome.WITHDRAW,
        Reason.ENVIRONMENT_OVER_BUDGET,
    ),
    (
        "10 outranks pairs that are not there yet",
        Case((op(proof=1.0),), timed_out=True),
        Outcome.INCONCLUSIVE,
        Reason.TIMED_OUT,
    ),
    ("9 within but worse", Case((op("within", "worse"),)), Outcome.PROMOTE, Reason.WITHIN_BUDGET),
    ("9 Better rejects", Case((op("within", "worse"),), require_better=True), Outcome.ROLLBACK, Reason.WORSE),
    ("9 Better, not worse", Case((op("within"),), require_better=True), Outcome.PROMOTE, Reason.WITHIN_BUDGET),
    ("9 Better waits", Case((op("worse"),), require_better=True), Outcome.CONTINUE, Reason.GATHERING_EVIDENCE),
    ("10 timeout", Case((op(),), timed_out=True), Outcome.INCONCLUSIVE, Reason.TIMED_OUT),
    ("10 timeout with few requests", Case((op(enough=False),), timed_out=True), Outcome.INCONCLUSIVE, Reason.TIMED_OUT),
    ("promotes at the last moment", Case((op("within"),), timed_out=True), Outcome.PROMOTE, Reason.WITHIN_BUDGET),
]


@pytest.mark.parametrize(("case", "outcome", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_first_matching_row_decides(case: Case, outcome: Outcome, reason: Reason):
    verdict = judge(case)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.message


def test_worse_than_stable_is_said_with_a_promotion_within_budget():
    assert judge(Case((op("within", "worse"),))).worse_than_stable
    assert not judge(Case((op("within"),))).worse_than_stable


def test_the_message_names_counts_limit_evidence_and_what_was_not_judged():
    verdict = judge(Case((op("over", "worse"), op(name="recall", requests=0))))
    for part in ("store", "250ms", "canary 20 of 100", "20.0 %", "stable 10 of 200", "needed", "recall not judged"):
        assert part in verdict.message


def test_an_improvement_says_whether_the_budget_is_kept_now():
    assert "still over 250ms" in judge(Case((op("better", before=True),))).message
    healed = replace(op("better", before=True), canary=Tally(100, 0))
    assert "now within 250ms" in judge(Case((healed,))).message


@pytest.mark.parametrize(
    ("log_e", "said"),
    [(0.0, "1x"), (6.4, "602x"), (100_000.0, "over 1000000x"), (-50.0, "under 0.01x"), (-1.0, "0.368x")],
)
def test_evidence_for_people_is_a_short_multiple_and_never_overflows(log_e: float, said: str):
    assert multiple(Finding(log_e, 4.60517)) == f"{said} of 100x needed"


@pytest.mark.parametrize(
    ("operations", "paired"),
    [((op(proof=9.0),), True), ((op("within", proof=9.0),), False), ((op(proof=9.0), op("within", name="recall")), True),
     ((op("better", before=True, proof=9.0),), False)],
)  # fmt: skip
def test_a_promotion_says_whether_it_rests_on_pairs(operations: tuple[Judged, ...], paired: bool):
    verdict = judge(Case(operations))
    assert verdict.outcome is Outcome.PROMOTE
    assert verdict.paired is paired
    assert ("by pairs" in verdict.message) is paired


BOTH = "canary 20 of 100 bad (20.0 %), stable 10 of 200 bad (5.0 %)"
WORSE = "evidence of worse 148x of 99.5x needed"
SILENT = op(name="recall", requests=0)
FAILED = replace(op("over", "worse", name="failed requests"), limit="5 %")


@pytest.mark.parametrize(
    ("case", "operation", "message"),
    [
        (Case((op(),), no_data=True), "", "the pods' evidence cannot be read; nothing is judged"),
        (
            Case((SILENT,)),
            "",
            "the canary has served no request yet: send traffic (on one machine: memorystack load), or promote by hand",
        ),
        (
            Case((op("within", name="delete"), op("over", "worse"), SILENT)),
            "store",
            (
                f"store over its budget of 250ms and worse than stable: {BOTH}; {WORSE}; delete not judged to the end"
                "; recall not judged (no requests)"
            ),
        ),
        (
            Case((op("within"),), errors=FAILED),
            "failed requests",
            f"more than 5 % of requests fail, and more than on stable: {BOTH.replace('bad', 'failed')}; {WORSE}",
        ),
        (
            Case((op("within", name="delete"), op("worse", before=True))),
            "store",
            f"store was over 250ms before and is worse with the flag: {BOTH}; {WORSE}; delete not judged to the end",
        ),
        (
            Case((op("over", "stable_over"),)),
            "store",
            f"store is over 250ms on both arms, so the environment is slow: {BOTH}",
        ),
        (
            Case((op("over", "stable_over", before=True), op("over", name="recall", over_for=75))),
            "recall",
            f"recall over 250ms for 75 s, not proved worse than stable: {BOTH}",
        ),
        (
            Case((op(enough=False), op(name="recall", enough=False), op(name="delete"))),
            "",
            "too few requests to judge store, recall (30 and two reads are needed)",
        ),
        (Case((op(),), early=True), "", "within the step's minDuration, which holds back promotions only"),
        (
            Case((op("within", "worse"),), require_better=True),
            "store",
            f"store is within 250ms but worse than stable, and Better is required: {BOTH}; {WORSE}",
        ),
        (Case((op("within"),)), "store", f"store within 250ms: {BOTH}; evidence 148x of 99.5x needed"),
        (
            Case((op("within"), op("better", name="recall", before=True), op(name="delete", requests=0))),
            "recall",
            (
                f"store within 250ms: {BOTH}; evidence 148x of 99.5x needed; recall improves: {BOTH}"
                "; evidence 148x of 99.5x needed (still over 250ms); delete not judged (no requests)"
            ),
        ),
        (
            Case((op("within", "worse"),)),
            "store",
            f"store within 250ms: {BOTH}; evidence 148x of 99.5x needed, but worse than stable",
        ),
        (
            Case((op(), op(name="recall")), timed_out=True),
            "",
            (
                f"the evidence did not suffice in time: store: {BOTH}, within budget 2.72x of 99.5x needed"
                f"; recall: {BOTH}, within budget 2.72x of 99.5x needed"
            ),
        ),
        (
            Case((op(), op(name="delete"), SILENT)),
            "",
            (
                "store: within 2.72x of 99.5x needed, over 2.72x of 99.5x needed"
                "; delete: within 2.72x of 99.5x needed, over 2.72x of 99.5x needed; recall not judged (no requests)"
            ),
        ),
    ],
)
def test_a_verdict_names_the_operation_it_rests_on_and_says_why(case: Case, operation: str, message: str):
    verdict = judge(case)
    assert (verdict.operation, verdict.message) == (operation, message)
