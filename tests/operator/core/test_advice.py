"""Each remark about a planned change, word for word, from the outlook that calls for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.moments import canary_world
from support.world import FLAG, rollout, settled_world, stack

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.advice import Plan, remarks, wait_text
from memorystack_operator.core.evidence import DesignEffect
from memorystack_operator.core.outlook import OperationOutlook, Outlook, StageOutlook, StepOutlook
from memorystack_operator.core.room import Room
from memorystack_operator.core.status import Status
from memorystack_operator.core.traffic import Traffic

STABLE = settled_world(5).status
ASSUMED = "it assumes that the flag's effect on shared parts ends with the request"
UNTRIED = (
    "nothing of this name has run here yet: its first start takes every flag of the file as it is, untried; below is what "
    "would happen had it run with the defaults"
)


def traffic(operation: str = "recall", *, share: float = 0.01, source: str = "Measured", **room: float) -> Traffic:
    effect = DesignEffect(phi_abs=1.4, rate=100.0, source=source, message="ten blocks")
    known = Room(**{"limit": 0.025, "hours": 6.0, "requests": 1_000_000, **room})
    return Traffic(
        operation=operation, rate=100.0, share=share, requests=30_000, effect=effect, source="Observed", room=known
    )


def step(*undecided: float, min_seconds: float = 60.0) -> StepOutlook:
    """The chance of each operation to be undecided after three minutes: recall's first, then store's."""
    told = {"question": "within", "median_seconds": 20.0, "late_seconds": 40.0, "in_time": 1.0}
    operations = tuple(
        OperationOutlook(operation=name, undecided=chance, **told)
        for name, chance in zip(("recall", "store"), undecided, strict=False)
    )
    return StepOutlook(weight=34, pods=1, share=1 / 3, min_seconds=min_seconds, operations=operations)


def flag(name: str = "parallelIngest", **fields: object) -> StageOutlook:
    base = {"before": "{}", "value": '{"concurrency":4}', "steps": (step(0.0),)}
    return StageOutlook(name=name, **{**base, "median_seconds": 60.0, "late_seconds": 90.0, "in_time": 1.0, **fields})


def said(
    *stages: StageOutlook,
    seen: Sequence[Traffic] = (traffic(),),
    unjudged: Sequence[str] = (),
    timeout: float = 600.0,
    status: Status = STABLE,
    resource: MemoryStack | None = None,
) -> tuple[str, ...]:
    found = Outlook(
        name="mem",
        replicas=3,
        stages=stages,
        traffic=tuple(seen),
        unjudged=tuple(unjudged),
        note="",
        timeout_seconds=timeout,
        false_rollback_rate=0.01,
        false_promotion_rate=0.05,
    )
    return remarks(Plan(resource or stack(features=FLAG), status, found))


def test_a_change_with_nothing_to_remark_is_left_without_a_remark():
    assert said(flag()) == ()


def test_what_has_never_run_is_told_first():
    assert said(flag(), status=Status()) == (UNTRIED,)


def test_a_file_whose_flags_serve_already_tries_nothing():
    assert said() == ("every flag of the file serves already: nothing would be tried",)


def test_a_new_template_comes_first_and_an_operators_newer_image_is_none():
    text = "the pod template changes: an ordinary rolling update comes first, and is not judged"
    changed = stack(features=FLAG, template={"env": [{"name": "A", "value": "1"}]})
    assert said(flag(), resource=changed) == (text,)
    kept = STABLE.stable.model_copy(update={"image": ""})
    assert said(flag(), status=STABLE.model_copy(update={"stable": kept})) == ()


def test_a_rejected_flag_is_not_tried_and_how_it_would_be_is_told():
    why = "parallelIngest would not be tried (P95OverBudget): change its value, or memorystack retry"
    assert said(flag(rejected="P95OverBudget")) == (why,)


def test_a_flag_that_is_being_tried_with_another_value_is_taken_back_first():
    under_way = canary_world()
    text = 'parallelIngest is being tried now with {"concurrency":4}: it is taken back first (Superseded)'
    same = {"status": under_way.status, "resource": under_way.stack}
    assert said(flag(), **same) == ()
    assert said(flag(value='{"concurrency":8}'), **same) == (text,)
    assert said(flag("cache"), **same) == (text,)


def test_an_edited_budget_starts_the_evidence_again():
    under_way = canary_world()
    under_way.edit(rollout=rollout(budgets=[{"operation": "recall", "p95": "200ms"}]))
    text = "the budgets change in the middle of a rollout: its evidence starts again"
    assert said(flag(), status=under_way.status, resource=under_way.stack) == (text,)


def test_one_replica_gets_a_surge_pod_if_anything_is_tried():
    text = (
        "one replica: a surge pod is started to compare with, half of the requests get the flag whatever the step's "
        "weight, and the pod is removed afterwards; starting and warming it are not in the times given"
    )
    alone = {"resource": stack(replicas=1, features=FLAG)}
    assert said(flag(), **alone) == (text,)
    assert len(said(flag(rejected="Worse"), **alone)) == 1
    assert said(flag(), resource=stack(replicas=2, features=FLAG)) == ()


def test_without_any_traffic_no_time_is_given_and_how_much_is_needed_is_told():
    text = (
        "no traffic is known yet (about a minute of it must have been seen), so no time can be given: a promotion takes "
        "about 75 good canary requests of each operation, 150 with 1 % bad, 330 with 2 %, times the design effect"
    )
    assert said(flag(), seen=()) == (text,)


def test_operations_without_a_request_are_named():
    text = "store, recall: no request seen lately, so the budget holds nothing back and proves nothing"
    assert said(flag(), unjudged=["store", "recall"]) == (text,)


def test_a_stack_over_its_budget_promotes_only_what_improves_it():
    text = (
        "store is over its budget now (7.5 % bad): a flag is promoted only when it is proved better than what serves now; "
        "the time given is for one that halves the bad share"
    )
    assert said(flag(), seen=[traffic(), traffic("store", share=0.075)]) == (text,)
    assert said(flag(), seen=[traffic(share=0.05)]) == ()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Short", "how bursty it is was measured on a short history, so the real times may be shorter"),
        ("Carried", "how bursty it is was measured before the last promotion"),
        ("Assumed", "how bursty it is could not be measured, so a cautious guess is used"),
    ],
)
def test_a_design_effect_that_was_not_measured_now_is_remarked(source: str, text: str):
    assert said(flag(), seen=[traffic(), traffic("store", source=source)]) == (f"store: {text} (ten blocks)",)


# -- too little time ---------------------------------------------------------------


def test_steps_that_bake_until_the_timeout_are_warned_of():
    steps = {"steps": (step(0.0, min_seconds=200.0), step(0.0, min_seconds=400.0))}
    text = "parallelIngest: minDuration of the steps alone (10 min) reaches the timeout: raise analysis.timeout"
    assert said(flag(**steps)) == (text,)
    assert said(flag(**steps), timeout=601.0) == ()


def test_a_share_that_no_evidence_can_tell_from_the_budget_is_warned_of():
    text = (
        "parallelIngest: the bad share is so close to 5 % that no evidence can tell: it would end as Inconclusive; raise "
        "the budget, or analysis.onInconclusive: Hold and decide yourself"
    )
    assert said(flag(median_seconds=None, late_seconds=None, in_time=0.0)) == (text,)
    assert said(flag(median_seconds=None, late_seconds=None, in_time=None)) == ()


@pytest.mark.parametrize(
    ("seconds", "waits", "enough"),
    [(601.0, "10 min", "20m"), (1200.0, "20 min", "20m"), (1201.0, "20 min", "30m"), (9e5, "250.0 h", "168h")],
)
def test_a_timeout_that_is_too_short_is_warned_of_with_the_least_that_would_do(seconds: float, waits: str, enough: str):
    text = (
        "parallelIngest: analysis.timeout 10m is shorter than what the evidence may need (nine of ten healthy flags are "
        f"decided in {waits}): set timeout: {enough}, or onInconclusive: Hold"
    )
    assert said(flag(late_seconds=seconds)) == (text,)
    assert said(flag(late_seconds=600.0)) == ()


def test_where_time_is_short_fewer_steps_are_offered_if_there_are_several():
    two = said(flag(late_seconds=700.0, steps=(step(0.0), step(0.0))))
    assert two[0].endswith("set timeout: 20m, or fewer steps (each is proved anew), or onInconclusive: Hold")


# -- what plain evidence will not decide -------------------------------------------


def slow(promotion: str, name: str = "parallelIngest", *, seen: Sequence[Traffic] = (traffic(),)) -> tuple[str, ...]:
    """In the first of two steps, recall is undecided in 12 % of the cases, and in the second in 62 %."""
    resource = stack(features=FLAG, rollout=rollout(analysis={"timeout": "10m", "promotion": promotion}))
    return said(flag(name, steps=(step(0.12, 0.1), step(0.62, 0.1))), seen=seen, resource=resource)


CHANCE = "in 62 % of the cases a step is not decided in 3 min"


def test_a_slow_step_goes_on_in_pairs_or_is_told_that_it_could():
    assert slow("Paired") == (f"parallelIngest: {CHANCE}; then it goes on as Proving, in pairs; {ASSUMED}",)
    could = f"analysis.promotion: Paired would decide sooner under bursts, and {ASSUMED}"
    assert slow("Plain") == (f"parallelIngest: {CHANCE}; {could}",)


def test_why_pairs_cannot_prove_it_is_told_to_those_who_asked_for_them():
    cache = "cache sizes never qualify, as what a cache holds outlasts a window"
    assert slow("Paired", "cache") == (f"cache: {CHANCE}, and pairs cannot prove it: {cache}",)
    assert slow("Plain", "cache") == ()
    tight = [traffic(limit=0.049, hours=0.5)]
    room = "recall may be up to 4.9 % bad in the long run by 0.5 h of history, which leaves too little room below 5 %"
    assert slow("Paired", seen=tight) == (f"parallelIngest: {CHANCE}, and pairs cannot prove it: {room}",)


def test_an_operation_that_is_decided_in_time_needs_no_room():
    quick = traffic("store", limit=0.049)
    assert slow("Paired", seen=[traffic(), quick])[0].endswith(ASSUMED)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (119.4, "119 s"), (120.0, "2 min"), (7199.0, "120 min"), (7200.0, "2.0 h")],
)
def test_waits_are_told_in_the_unit_that_people_would_use(seconds: float | None, text: str):
    assert wait_text(seconds) == text
