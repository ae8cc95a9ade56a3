"""What may stop or turn a rollout, most urgent first. Each guard answers for one reason and knows nothing of the others.

To know what MemoryStack does in any situation, read the two chains from the top: the first guard that answers decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memorystack_operator.core.guards.idle import (
    deployment_settling,
    first_deployment,
    flags_still_leaving,
    new_template,
    nothing_to_do,
    paused_before_start,
    pods_missing,
    ready_to_begin,
)
from memorystack_operator.core.guards.pairs import proving_in_pairs, switching_back
from memorystack_operator.core.guards.people import action_requested, held_for_a_person, paused_by_a_person
from memorystack_operator.core.guards.surge import (
    left_alone,
    surge_pod,
    surge_pod_lost,
    surge_pod_not_needed,
    surge_pod_not_needed_any_more,
)
from memorystack_operator.core.guards.verdicts import the_verdict, withdrawn_and_waiting
from memorystack_operator.core.guards.watch import (
    reverse_overtaken,
    reverse_switching_back,
    reverse_verdict,
    stack_over_budget,
)
from memorystack_operator.core.guards.world import (
    blind,
    calibrating,
    canaries_missing,
    not_applied_yet,
    pods_crashing,
    superseded_by_new_budgets,
    superseded_by_new_spec,
)
from memorystack_operator.core.situation import Outcome, Situation

__all__ = ["BETWEEN", "DURING", "Guard", "next_move"]

Guard = Callable[[Situation], Outcome | None]

BETWEEN: Final[tuple[Guard, ...]] = (
    first_deployment,  # a new stack starts at the desired state, there is nothing to compare it with
    action_requested,  # promote, abort, retry, pause, resume: acknowledged once
    new_template,  # an ordinary rolling update for now, reported as not judged
    flags_still_leaving,  # no pod keeps an old flag when the next one enters
    surge_pod_not_needed,  # its stages are over, or it has become one of many
    stack_over_budget,  # after 100 %: an alarm, and the question which flag did it
    nothing_to_do,
    paused_before_start,
    deployment_settling,  # flags run only on a settled Deployment
    surge_pod,  # one replica has nobody to be compared with
    pods_missing,
    ready_to_begin,
)
"""Asked while no stage is under way."""

DURING: Final[tuple[Guard, ...]] = (
    action_requested,
    new_template,  # a template change first withdraws the flags
    superseded_by_new_spec,  # the old canary leaves every pod before the new one enters
    superseded_by_new_budgets,  # counts under another budget prove nothing
    reverse_overtaken,  # another flag waits, or there is nobody left to compare with
    held_for_a_person,
    left_alone,  # scaled down to one: nobody is left to compare with
    surge_pod_not_needed_any_more,  # scaled up from one
    surge_pod_lost,  # never all traffic on a flag: it leaves at once
    paused_by_a_person,  # a person outranks every metric
    pods_crashing,  # faster and surer than any latency evidence
    deployment_settling,
    withdrawn_and_waiting,  # a slow environment, or blindness: wait for it to end
    reverse_switching_back,
    switching_back,  # flags on and off by lot: the flag's doing, or the environment's?
    blind,  # no metrics is not a verdict: hold, and say for how long
    calibrating,
    proving_in_pairs,  # flags on and off by lot: is what the flag changes smaller than what the budget has left?
    canaries_missing,  # never silently a share of zero
    not_applied_yet,  # judge only pods that report the flags they run
    reverse_verdict,  # of a promoted flag, by the pods that have its older value back
    the_verdict,  # the table of verdict.md 8, whose last row always answers
)
"""Asked while a stage is under way."""


def next_move(situation: Situation) -> Outcome:
    """The first guard's answer."""
    chain = BETWEEN if situation.status.rollout is None else DURING
    return next(outcome for guard in chain if (outcome := guard(situation)))
