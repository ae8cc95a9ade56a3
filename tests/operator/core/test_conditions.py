"""Phase and conditions of one moment: what kubectl, GitOps tools and people read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.world import FLAG, World, settled_world, stack

from memorystack_operator.api.status import Condition, Phase, Rejection, RolloutRecord
from memorystack_operator.core.conditions import conditions_of, phase_of, refused
from memorystack_operator.core.observe import Trouble
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stabilization import OverBudget, Watch
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_operator.core.status import Settling, Status

WORLD = settled_world(5)
NOW = WORLD.now + timedelta(minutes=1)
STABLE = WORLD.status.stable
SEEN = WORLD.observe()
IDLE = Outcome(Move.HOLD, "Idle", "nothing to do")
ROLLOUT = RolloutStatus(
    id="r",
    stage="parallelIngest",
    value="{}",
    target=STABLE.features,
    revision="new",
    budgets="b",
    changed_at=NOW,
    started_at=NOW,
    state_since=NOW,
    message="a person decides",
)
REJECTED = Rejection(stage="parallelIngest", value="{}", template="t", reason="P95OverBudget", message="slow", at=NOW)
OVER = Watch(over=OverBudget(operation="store", since=NOW, message="store is over its budget"))
RECORD = RolloutRecord(
    id="r",
    stage="cache",
    outcome="Promoted",
    reason="Improves",
    message="within, but worse",
    value="{}",
    changed_at=NOW,
    started_at=NOW,
    ended_at=NOW,
    worse_than_stable=True,
)


def moment(
    *, ready: int = 3, unread: int = 0, troubles: tuple[Trouble, ...] = (), wants_flag: bool = False
) -> Situation:
    """So many pods ready, so many of them unread."""
    pods = tuple(
        replace(pod, ready=number < ready, evidence=None if number < unread else pod.evidence)
        for number, pod in enumerate(SEEN.pods)
    )
    wanted = stack(features=FLAG) if wants_flag else stack()
    return Situation(wanted, Status(), replace(SEEN, pods=pods, troubles=troubles), NOW, "t")


def status(**fields) -> Status:
    return Status(**{"stable": STABLE, **fields})


def waiting(reason: str) -> Outcome:
    return Outcome(Move.HOLD, reason, "it waits")


def told(kind: str, status: Status, outcome: Outcome, situation: Situation) -> tuple[str, str, str] | None:
    found = {c.type: (c.status, c.reason, c.message) for c in conditions_of(status, outcome, situation)}
    return found.get(kind)


def rolling(state: RolloutState) -> RolloutStatus:
    return ROLLOUT.model_copy(update={"state": state})


@pytest.mark.parametrize(
    ("fields", "outcome", "situation", "phase"),
    [
        ({"stable": None}, IDLE, moment(), Phase.PENDING),
        ({}, IDLE, moment(ready=0), Phase.PENDING),
        ({"rollout": rolling(RolloutState.PROGRESSING)}, IDLE, moment(ready=0), Phase.PROGRESSING),
        ({}, waiting("Paused"), moment(), Phase.PAUSED),
        ({"rollout": rolling(RolloutState.PROGRESSING)}, waiting("WaitingForPerson"), moment(), Phase.PAUSED),
        ({"rollout": rolling(RolloutState.HELD)}, waiting("WaitingForPerson"), moment(), Phase.HELD),
        ({"rollout": rolling(RolloutState.CALIBRATING)}, waiting("PodsNotReady"), moment(), Phase.CALIBRATING),
        ({"rollout": rolling(RolloutState.PROGRESSING)}, waiting("NoTraffic"), moment(), Phase.WAITING),
        ({"rollout": rolling(RolloutState.WITHDRAWN)}, waiting("NoTraffic"), moment(), Phase.WITHDRAWN),
        ({"rollout": rolling(RolloutState.SWITCHBACK)}, IDLE, moment(), Phase.SWITCHBACK),
        ({"rollout": rolling(RolloutState.PROVING)}, IDLE, moment(), Phase.PROVING),
        ({"settling": Settling(record="r", since=NOW), "watch": OVER}, IDLE, moment(), Phase.SETTLING),
        ({"watch": OVER}, waiting("NoTraffic"), moment(), Phase.OVER_BUDGET),
        ({"rejected": (REJECTED,)}, waiting("NoTraffic"), moment(wants_flag=True), Phase.WAITING),
        ({"rejected": (REJECTED,)}, IDLE, moment(wants_flag=True), Phase.REJECTED),
        ({"rejected": (REJECTED,)}, IDLE, moment(), Phase.IDLE),
        (
            {"rejected": (REJECTED, REJECTED.model_copy(update={"reason": "Inconclusive"}))},
            IDLE,
            moment(wants_flag=True),
            Phase.INCONCLUSIVE,
        ),
        ({}, IDLE, moment(wants_flag=True), Phase.IDLE),
    ],
)
def test_the_phase_says_what_matters_most(fields: dict, outcome: Outcome, situation: Situation, phase: Phase):
    assert phase_of(status(**fields), outcome, situation) is phase


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        (3, ("True", "Serving", "3 of 3 pods are ready")),
        (2, ("True", "Serving", "2 of 3 pods are ready")),
        (1, ("False", "PodsNotReady", "1 of 3 pods are ready")),
        (0, ("False", "PodsNotReady", "0 of 3 pods are ready")),
    ],
)
def test_a_stack_is_ready_when_all_its_pods_but_one_are(ready: int, expected: tuple[str, str, str]):
    assert told("Ready", status(), IDLE, moment(ready=ready)) == expected


@pytest.mark.parametrize("reason", ["Paused", "WaitingForPerson", "NoControlArm", "NoTraffic"])
def test_what_only_a_person_ends_is_not_reconciling_and_ready_says_that_it_waits(reason: str):
    begun = status(rollout=rolling(RolloutState.PROGRESSING))
    assert told("Reconciling", begun, waiting(reason), moment()) is None
    assert told("Ready", begun, waiting(reason), moment())[1] == f"Waiting{reason.removeprefix('Waiting')}"


@pytest.mark.parametrize(
    "fields", [{"rollout": rolling(RolloutState.PROGRESSING)}, {"settling": Settling(record="r", since=NOW)}]
)
def test_while_something_is_under_way_the_stack_is_reconciling(fields: dict):
    assert told("Reconciling", status(**fields), waiting("TooEarly"), moment()) == ("True", "TooEarly", "it waits")
    assert told("Reconciling", status(), waiting("TooEarly"), moment()) is None
    assert told("Reconciling", status(), waiting("Paused"), moment(ready=1)) == ("True", "Paused", "it waits")


def test_what_only_a_person_can_mend_is_stalled_and_not_reconciling():
    worst = Trouble("ImagePullFailed", "mem-1: no such image")
    begun = status(rollout=rolling(RolloutState.PROGRESSING))
    stuck = moment(ready=0, troubles=(worst, Trouble("SecretMissing", "another")))
    assert told("Stalled", begun, IDLE, stuck) == ("True", "ImagePullFailed", "mem-1: no such image")
    assert told("Reconciling", begun, IDLE, stuck) is None
    deaf = Outcome(Move.HOLD, "FlagsNotApplied", "mem-1 keeps its flags")
    assert told("Stalled", begun, deaf, moment()) == (
        "True",
        "FlagsNotApplied",
        "mem-1 keeps its flags: look at the pod's log",
    )
    assert told("Stalled", begun, IDLE, moment()) is None


@pytest.mark.parametrize(
    ("fields", "wants_flag", "expected"),
    [
        ({}, False, ("True", "NothingRejected", "no flag of the spec was rejected")),
        ({"rejected": (REJECTED,)}, True, ("False", "P95OverBudget", "parallelIngest: slow")),
        ({"rejected": (REJECTED,)}, False, ("True", "NothingRejected", "no flag of the spec was rejected")),
        ({"rollout": rolling(RolloutState.HELD)}, True, ("False", "Inconclusive", "a person decides")),
        ({"not_judged": "one replica", "watch": OVER}, False, ("Unknown", "NotJudged", "one replica")),
        ({"watch": OVER}, False, ("Unknown", "StackOverBudget", "store is over its budget")),
        ({"history": (RECORD,)}, False, ("True", "WorseThanStable", "within, but worse")),
        (
            {"history": (RECORD, RECORD.model_copy(update={"worse_than_stable": False}))},
            False,
            ("True", "NothingRejected", "no flag of the spec was rejected"),
        ),
        (
            {"history": (RECORD, RECORD.model_copy(update={"outcome": "RolledBack", "worse_than_stable": False}))},
            False,
            ("True", "WorseThanStable", "within, but worse"),
        ),
    ],
)
def test_the_health_of_a_rollout_names_what_stands_against_it(fields: dict, wants_flag: bool, expected: tuple):
    assert told("RolloutHealthy", status(**fields), IDLE, moment(wants_flag=wants_flag)) == expected


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (moment(ready=0, unread=3), ("Unknown", "NoPods", "no pod is ready")),
        (moment(unread=2), ("False", "MetricsUnavailable", "evidence of mem-1, mem-2 cannot be read")),
        (moment(), ("True", "Read", "the evidence of every ready pod was read")),
    ],
)
def test_metrics_are_available_when_every_ready_pod_was_read(situation: Situation, expected: tuple):
    assert told("MetricsAvailable", status(), IDLE, situation) == expected


def test_a_pod_that_is_not_ready_need_not_be_read():
    last = moment(ready=2)
    unread = replace(last.seen.pods[2], evidence=None)
    partly = replace(last, seen=replace(last.seen, pods=(*last.seen.pods[:2], unread)))
    assert told("MetricsAvailable", status(), IDLE, partly)[0] == "True"


def test_a_transition_time_moves_only_when_the_status_of_its_condition_does():
    before = tuple(
        Condition(
            type=kind, status=said, reason="r", message="m", last_transition_time=WORLD.now, observed_generation=0
        )
        for kind, said in (("Ready", "True"), ("MetricsAvailable", "Unknown"))
    )
    looked = replace(moment(), status=status(conditions=before))
    made = {c.type: c for c in conditions_of(status(), IDLE, looked)}
    assert made["Ready"].last_transition_time == WORLD.now
    assert made["MetricsAvailable"].last_transition_time == NOW
    assert made["RolloutHealthy"].last_transition_time == NOW
    assert {c.observed_generation for c in made.values()} == {1}
    assert list(made) == ["Ready", "RolloutHealthy", "MetricsAvailable"]


def test_of_a_resource_that_is_not_understood_all_that_was_said_stays_and_it_is_stalled():
    world = World(stack())
    world.tick()
    old = [c.model_dump(mode="json", by_alias=True) for c in world.status.conditions]
    stalled = {**old[0], "type": "Stalled", "status": "True"}
    unknown = {**old[0], "type": "OfANewerRelease"}
    made = refused([*old, stalled, unknown], 7, "spec.replicas: a number", NOW)
    assert [c.type for c in made][:2] == ["Ready", "Stalled"]
    assert [c.type for c in made].count("Stalled") == 1
    assert "Reconciling" not in [c.type for c in made]
    assert {c.observed_generation for c in made} == {7}
    said = {c.type: (c.status, c.reason, c.message) for c in made}
    assert said["Stalled"] == ("True", "InvalidSpec", "spec.replicas: a number")
    assert said["RolloutHealthy"] == ("True", "NothingRejected", "no flag of the spec was rejected")
    assert made[0].last_transition_time == world.status.conditions[0].last_transition_time
    assert made[1].last_transition_time == world.status.conditions[0].last_transition_time


@pytest.mark.parametrize("old", [None, [], {"Ready": "True"}, [{"type": "Ready"}]])
def test_of_a_resource_that_was_never_understood_nothing_serves(old: object):
    made = refused(old, 1, "spec: it is missing", NOW)
    assert [(c.type, c.status, c.reason, c.message) for c in made] == [
        ("Ready", "False", "InvalidSpec", "nothing serves yet"),
        ("Stalled", "True", "InvalidSpec", "spec: it is missing"),
    ]
    assert {c.last_transition_time for c in made} == {NOW}
