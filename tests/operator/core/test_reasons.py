"""The sentences of an explanation, word for word, from the numbers that they are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import log

import pytest
from support.world import stack

from memorystack_operator.api.status import ArmCounts, ProofResult, ProvingResult, SwitchbackResult
from memorystack_operator.core.late_reasons import why_late
from memorystack_operator.core.reasons import AWAY, DONE, Told, odds, sentence, share_text, to_one, why

FLIPPED = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = stack(
    rollout={"budgets": [{"operation": "store", "p95": "250ms"}, {"operation": "recall", "p95": "400ms"}]}
).spec
PROOF = ProofResult(limit=0.02, hours=6, room=2.0, own_log_e=3.0, shared_log_e=3.0, log_e=log(21), needed=log(20))
PAIRS = ProvingResult(decided=True, step=1, pairs=12, discarded=0, operations={"store": PROOF})
ASSUMED = "it assumes that the flag's effect on shared parts ends with the request"


def arms(canary: tuple[int, int], stable: tuple[int, int], **fields: object) -> ArmCounts:
    """(Requests, bad ones) of both arms; evidence as odds to one."""
    log_e = {q: log(v) for q, v in fields.pop("odds", {}).items()}
    needed = {q: log(v) for q, v in fields.pop("needed", {"within": 20, "better": 20, "worse": 800}).items()}
    counts = {
        "canary_requests": canary[0],
        "canary_bad": canary[1],
        "stable_requests": stable[0],
        "stable_bad": stable[1],
    }
    return ArmCounts(**counts, log_e=log_e, needed=needed, **fields)


STORE = arms((1000, 15), (2000, 20), odds={"within": 66, "better": 30, "worse": 3})


def stage(reason: str, outcome: str = "UnderWay", **fields: object) -> Told:
    base = {
        "spec": SPEC,
        "stage": "parallelIngest",
        "value": '{"concurrency":4}',
        "message": "the operator's own words",
        "judged": {"store": STORE},
        "switchback": None,
        "proving": None,
        "withdrawals": 0,
        "flipped_at": FLIPPED,
        "ended_at": None if outcome == "UnderWay" else FLIPPED + timedelta(seconds=90),
    }
    return Told(reason=reason, outcome=outcome, **{**base, **fields})


def by_lot(worse: int = 9, better: int = 2, tied: int = 1) -> SwitchbackResult:
    windows = {"worse": worse, "better": better, "tied": tied, "discarded": 1}
    return SwitchbackResult(number=1, operation="store", **windows, log_e=log(44), needed=log(329))


MET = "1,000 requests met the flag in 90 s, about 5 more of them bad than without it."
BOTH = (
    "Of 1,000 store requests with the flag 1.5 % took longer than 250ms or failed, against 1.0 % of 2,000 at the same "
    "time without it"
)
SAFE = "A flag that breaks the budget would pass this proof in at most 5 % of the cases."


def test_a_flag_within_its_budget_is_told_with_its_proof_and_what_the_proof_lets_pass():
    assert why(stage("WithinBudget", "Promoted")) == (
        (
            "Of 1,000 store requests with the flag 1.5 % took longer than 250ms or failed; 5 % are allowed. The evidence is 66 "
            "to 1; 20 to 1 was needed."
        ),
        SAFE,
        MET,
        DONE,
    )


def test_a_promotion_that_rests_on_pairs_tells_of_them_in_place_of_the_canarys_own_proof():
    assert why(stage("WithinBudget", "Promoted", proving=PAIRS)) == (
        "Of 1,000 store requests with the flag 1.5 % took longer than 250ms or failed; 5 % are allowed.",
        f"12 pairs of windows with it and without it speak with 21 to 1 for store (20 to 1 is needed); {ASSUMED}.",
        SAFE,
        MET,
        DONE,
    )
    undecided = PAIRS.model_copy(update={"decided": False})
    assert "66 to 1" in why(stage("WithinBudget", "Promoted", proving=undecided))[0]


def test_an_improvement_is_told_by_the_question_that_decided_it():
    over = STORE.model_copy(update={"over_budget_before": True})
    told = why(stage("Improves", "Promoted", judged={"store": over, "recall": STORE}))
    assert told[0] == f"{BOTH}. The evidence is 30 to 1; 20 to 1 was needed."
    assert told[1].endswith("took longer than 400ms or failed, against 1.0 % of 2,000 at the same time without it. The "
                            "evidence is 66 to 1; 20 to 1 was needed.")  # fmt: skip


@pytest.mark.parametrize("reason", ["P95OverBudget", "Worse"])
def test_harm_is_told_of_the_operation_with_the_most_evidence_of_it(reason: str):
    worst = arms((500, 100), (2000, 20), odds={"worse": 900})
    told = why(stage(reason, "RolledBack", judged={"recall": STORE, "store": worst}))
    assert told[:2] == (
        (
            "Of 500 store requests with the flag 20.0 % took longer than 250ms or failed, against 1.0 % of 2,000 at the same "
            "time without it. The evidence is 900 to 1; 800 to 1 was needed."
        ),
        "A flag that harms nobody is taken back in at most 1 % of the cases, however often we look.",
    )
    assert told[-1] == AWAY


def test_harm_without_counts_is_told_in_the_operators_own_words():
    assert why(stage("Worse", "RolledBack", judged={})) == ("the operator's own words", AWAY)


SUSPICION = (
    "While parallelIngest was on, store became too slow, perhaps on all pods: either the flag overloads something that "
    "all pods share, or something else made everybody slow."
)


def test_harm_to_everybody_is_told_by_its_pairs_and_by_the_requests_of_all_pods():
    assert why(stage("HarmsSharedDependency", "RolledBack", switchback=by_lot())) == (
        SUSPICION,
        (
            "To find out, it was put on and off by lot: in 9 of 12 pairs of short windows store was worse with it on. The "
            "evidence against it is 44 to 1; 329 to 1 is needed to blame it."
        ),
        "Before it was withdrawn, 35 of 3,000 requests were bad, those on all pods counted.",
        AWAY,
    )
    beside = why(stage("HarmsSharedDependency", "RolledBack", switchback=by_lot(), proving=PAIRS))
    assert beside[2] == "While it was on, 35 of 3,000 requests were bad, those on all pods counted."


def test_a_switchback_that_has_just_begun_says_so():
    assert why(stage("Switchback", switchback=by_lot(0, 0, 0)))[:2] == (
        SUSPICION,
        "To find out, it is put on and off by lot; no pair of short windows is whole yet.",
    )
    assert "it is put on and off by lot: in 9 of 12" in why(stage("Switchback", switchback=by_lot()))[1]
    assert why(stage("Switchback"))[0] == "the operator's own words"


def test_a_proof_in_pairs_tells_why_it_is_needed_how_far_it_is_and_whether_the_flag_is_suspected():
    burst = "Traffic comes in bursts, and they hide what the flag does; so it goes on and off by lot, in short windows."
    known = f"12 pairs of windows with it and without it speak with 21 to 1 for store (20 to 1 is needed); {ASSUMED}."
    assert why(stage("Proving", proving=PAIRS))[:-1] == (burst, known)
    none = PAIRS.model_copy(update={"pairs": 0})
    assert why(stage("Proving", proving=none))[1] == (
        f"No pair of windows with it and without it is whole yet; {ASSUMED}."
    )
    assert why(stage("Proving", proving=PAIRS, switchback=by_lot()))[2] == SUSPICION
    assert why(stage("Proving"))[0] == "The operator's own words."
    two = PAIRS.model_copy(update={"operations": {"store": PROOF, "recall": PROOF}})
    assert "for store (20 to 1 is needed) and 21 to 1 for recall" in why(stage("Proving", proving=two))[1]


def test_a_trial_under_way_tells_what_would_promote_it_and_what_would_take_it_back():
    assert why(stage("Progressing")) == (
        (
            f"{BOTH}. The evidence that it keeps the budget is 66 to 1 so far, and 20 to 1 promotes it; that it is worse, 3 to "
            "1, and 800 to 1 takes it back."
        ),
        "1,000 requests met the flag so far, about 5 more of them bad than without it.",
    )
    over = {"store": STORE.model_copy(update={"over_budget_before": True})}
    better = "The evidence that it is better than what it replaces is 30 to 1 so far, and 20 to 1 promotes it"
    assert better in why(stage("Progressing", judged=over))[0]


@pytest.mark.parametrize("judged", [{}, {"store": arms((0, 0), (50, 0))}], ids=["nothing", "the others alone"])
def test_before_its_first_request_a_trial_has_nothing_to_tell(judged: dict[str, ArmCounts]):
    assert why(stage("Progressing", judged=judged)) == ("No request has met it yet.",)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("ErrorsOverBudget", ("The operator's own words.",)),
        ("Held", ("The operator's own words.",)),
        ("PodsCrashing", ("Pods with the flag died, the others did not: the operator's own words.",)),
        ("Inconclusive", ("Neither harm nor harmlessness was proved: the operator's own words.",)),
        ("Aborted", ("A person decided, not the evidence.",)),
        ("PromotedByHand", ("A person decided, not the evidence.",)),
        (
            "Calibrating",
            (
                (
                    "No pod has it yet: first the operator learns from their own past how much pods differ and how bursty "
                    "traffic is."
                ),
                "The operator's own words.",
            ),
        ),
        (
            "Withdrawn",
            ("It was taken off all pods at once, which says nothing against it yet.", "The operator's own words."),
        ),
    ],
)
def test_other_reasons_are_told_in_their_words(reason: str, told: tuple[str, ...]):
    assert why(stage(reason, judged={})) == told


@pytest.mark.parametrize(
    ("outcome", "follows"),
    [
        ("RolledBack", (AWAY,)),
        ("Aborted", (AWAY,)),
        ("Inconclusive", (AWAY,)),
        ("Promoted", (DONE,)),
        ("Superseded", ()),
        ("UnderWay", ()),
    ],
)
def test_what_follows_hangs_on_how_it_ended(outcome: str, follows: tuple[str, ...]):
    assert why(stage("Aborted", outcome, judged={})) == ("A person decided, not the evidence.", *follows)


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({"withdrawals": 1}, "1,000 requests met the flag in 90 s, about 5 more of them bad than without it; it was withdrawn once meanwhile."),
        ({"withdrawals": 2}, "1,000 requests met the flag in 90 s, about 5 more of them bad than without it; it was withdrawn 2 times meanwhile."),
        ({"ended_at": FLIPPED + timedelta(minutes=6)}, "1,000 requests met the flag in 6 min, about 5 more of them bad than without it."),
        ({"judged": {"store": arms((1000, 9), (2000, 20))}}, "1,000 requests met the flag in 90 s, no more of them bad than without it."),
        ({"judged": {"store": arms((1000, 11), (2000, 20))}}, "1,000 requests met the flag in 90 s, about 1 more of them bad than without it."),
        ({"judged": {"store": arms((1000, 9), (0, 0))}}, "1,000 requests met the flag in 90 s, about 9 more of them bad than without it."),
    ],
)  # fmt: skip
def test_what_a_trial_cost_its_users_is_counted(fields: dict, cost: str):
    assert why(stage("Aborted", "Superseded", **fields)) == ("A person decided, not the evidence.", cost)


def test_a_flag_that_no_request_has_met_cost_nothing():
    assert why(stage("Aborted", "Superseded", flipped_at=None)) == ("A person decided, not the evidence.",)


def test_an_operation_that_has_no_budget_any_longer_is_told_without_it():
    told = why(stage("Progressing", judged={"search": STORE}))
    assert told[0].startswith("Of 1,000 search requests with the flag 1.5 % were bad, against 1.0 % of 2,000")


# -- a promoted flag that was suspected later --------------------------------------

ASKED = arms((400, 4), (400, 48), odds={"better": 120, "same": 2}, needed={"better": 650, "same": 20})


def late(outcome: str = "UnderWay", **fields: object) -> tuple[str, ...]:
    return why_late(stage("ReverseCanary", outcome, **{"judged": {"store": STORE, "recall": ASKED}, **fields}))


def test_a_late_suspicion_tells_what_is_compared_and_how_far_it_is():
    assert late() == (
        (
            "After its promotion the whole stack went over its budget for recall. That alone blames nobody: half of the pods "
            "get the older value back, and both values are compared under the same traffic."
        ),
        (
            "With the older value 1.0 % of 400 were bad, with the promoted one 12.0 % of 400. The evidence that the promoted "
            "value is the worse one is 120 to 1; 650 to 1 is needed to take it back."
        ),
    )


def test_of_a_late_question_that_ended_it_is_told_in_the_past_and_with_what_follows():
    kept = late("Kept")
    assert "half of the pods got the older value back, and both values were compared" in kept[0]
    assert kept[-1] == "The operator's own words."
    assert late("RolledBack")[-1] == AWAY
    named = late("Kept", message="parallelIngest stays", stage="parallelIngest")
    assert named[-1] == "parallelIngest stays."
    assert late("Kept", message="cache stays", stage="cache")[-1] == "cache stays."


def test_where_both_values_were_over_budget_the_pairs_are_told():
    recall = by_lot().model_copy(update={"operation": "recall"})
    pairs = (
        "Both values were over the budget, so all pods go back and forth between them by lot: in 9 of 12 pairs of short "
        "windows recall was worse with the promoted one. The evidence is 44 to 1; 329 to 1 is needed."
    )
    assert late(switchback=recall)[2] == pairs
    assert late("Kept", switchback=recall)[2] == pairs.replace("all pods go", "all pods went")
    assert "budget for store" in late(switchback=by_lot())[0]


# -- the smallest parts ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("the flag is bad", "", "The flag is bad"),
        ("recall: it is slow", "", "Recall: it is slow"),
        ("cache changed in the spec", "cache", "cache changed in the spec"),
        ("cache, as it was", "cache", "cache, as it was"),
        ("parallelIngest changed", "", "parallelIngest changed"),
        ("mem-1 does not answer", "", "mem-1 does not answer"),
        ("Pods died", "", "Pods died"),
    ],
)
def test_a_sentence_begins_with_a_capital_unless_it_begins_with_a_name(text: str, name: str, told: str):
    assert sentence(text, name) == told


@pytest.mark.parametrize(
    ("log_e", "told", "number"),
    [
        (0.0, "1 to 1", 1.0),
        (log(0.05), "0.05 to 1", 0.05),
        (log(9.94), "9.9 to 1", 9.94),
        (log(10), "10 to 1", 10.0),
        (log(43210), "43,210 to 1", 43210.0),
        (log(2e6), "over 1,000,000 to 1", 1e6),
        (800.0, "over 1,000,000 to 1", 1e6),
    ],
)
def test_evidence_is_told_as_so_many_to_one_and_beyond_a_million_no_more(log_e: float, told: str, number: float):
    assert to_one(log_e) == told
    assert odds(log_e) == number


def test_a_share_is_told_with_what_it_is_of():
    assert share_text(18, 1200) == "1.5 % of 1,200"
    assert share_text(0, 0) == "0.0 % of 0"
