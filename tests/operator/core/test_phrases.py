"""The words of a verdict, as a person reads them."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from memorystack_operator.core.case import Case, Judged
from memorystack_operator.core.evidence import Finding, Findings, Tally
from memorystack_operator.core.phrases import besides, counts, multiple, not_judged, passed, progress, proof_of_worse

NEEDED = log(100)


def finding(times: float) -> Finding:
    return Finding(log(times), NEEDED)


FINDINGS = Findings(
    over=finding(2), stable_over=finding(3), worse=finding(4), within=finding(150), better=finding(1000), enough=True
)
STORE = Judged("store", "250ms", FINDINGS, Tally(100, 2), Tally(300, 12))
RECALL = replace(STORE, name="recall", canary=Tally(10, 1), stable=Tally(20, 1))
IDLE = replace(STORE, name="delete", canary=Tally(0, 0))


@pytest.mark.parametrize(
    ("log_e", "told"),
    [
        (log(43), "43x"),
        (log(123.4), "123x"),
        (log(99.96), "100x"),
        (log(1.234), "1.23x"),
        (log(0.01001), "0.01x"),
        (log(0.0099), "under 0.01x"),
        (log(0.999e6), "999000x"),
        (log(1.001e6), "over 1000000x"),
        (10_000.0, "over 1000000x"),
        (-10_000.0, "under 0.01x"),
    ],
)
def test_evidence_is_told_in_as_many_digits_as_anybody_reads(log_e: float, told: str):
    assert multiple(Finding(log_e, NEEDED)) == f"{told} of 100x needed"


def test_counts_name_both_arms_with_their_shares():
    assert counts(STORE) == "canary 2 of 100 bad (2.0 %), stable 12 of 300 bad (4.0 %)"
    assert counts(RECALL, "failed") == "canary 1 of 10 failed (10.0 %), stable 1 of 20 failed (5.0 %)"


def test_what_passed_by_its_own_counts_says_so_with_the_evidence_of_within():
    assert passed(STORE) == f"store within 250ms: {counts(STORE)}; evidence 150x of 100x needed"


@pytest.mark.parametrize(
    ("bad", "left"), [(4, " (now within 250ms)"), (5, " (now within 250ms)"), (6, " (still over 250ms)")]
)
def test_what_improved_says_whether_it_is_within_its_budget_by_now(bad: int, left: str):
    better = replace(STORE, over_budget_before=True, canary=Tally(100, bad))
    assert passed(better) == f"store improves: {counts(better)}; evidence 1000x of 100x needed{left}"


def test_what_only_pairs_proved_says_so_with_their_evidence():
    unproved = replace(FINDINGS, within=finding(3))
    proved = replace(STORE, findings=unproved, proof=finding(200))
    assert passed(proved) == f"store proved within 250ms by pairs: {counts(proved)}; evidence 200x of 100x needed"
    assert passed(replace(proved, findings=FINDINGS)).startswith("store within 250ms: ")
    assert passed(replace(proved, over_budget_before=True)).startswith("store improves: ")


def test_progress_tells_of_the_two_questions_that_decide():
    assert progress(STORE) == "store: within 150x of 100x needed, over 2x of 100x needed"
    before = replace(STORE, over_budget_before=True)
    assert progress(before) == "store: better 1000x of 100x needed, worse 4x of 100x needed"


def test_a_conviction_rests_on_the_evidence_of_worse():
    assert proof_of_worse(STORE) == "evidence of worse 4x of 100x needed"


def test_operations_that_nobody_asked_for_are_named():
    assert not_judged(Case((STORE, IDLE, replace(IDLE, name="forget")))) == "; delete, forget not judged (no requests)"
    assert not_judged(Case((STORE, RECALL))) == ""


def test_beside_a_conviction_stand_failed_requests_and_what_was_not_judged_to_the_end():
    errors = replace(STORE, name="errors", canary=Tally(100, 0))
    assert besides(Case((STORE,)), STORE) == ""
    assert besides(Case((STORE, RECALL, IDLE), errors=errors), STORE) == (
        "; failed requests: canary 0 of 100 failed (0.0 %), stable 12 of 300 failed (4.0 %)"
        "; recall not judged to the end; delete not judged (no requests)"
    )
