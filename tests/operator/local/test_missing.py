"""What one machine has not is said, and nothing else."""

from __future__ import annotations

from support.world import World, stack

from memorystack_operator.local.missing import missing_here
from memorystack_operator.local.pods import template_of

SCALED = {"replicas": None, "autoscaling": {"minReplicas": 2, "maxReplicas": 8}}


def test_what_has_no_effect_is_named():
    spec = stack(**SCALED, networkPolicy={}, podMonitor={}, template={"nodeSelector": {"a": "b"}}).spec
    said = missing_here(spec)
    assert [line.split()[0] for line in said] == ["autoscaling", "networkPolicy", "podMonitor", "template"]
    assert "2 pods" in said[0]


def test_an_ordinary_stack_misses_nothing():
    assert missing_here(stack().spec) == []


def test_the_least_number_of_pods_runs_where_nothing_scales():
    world = World(stack(**SCALED))
    world.tick()
    found = {c["kind"]: c for c in world.decision.children}
    assert template_of(found["Deployment"], found["HorizontalPodAutoscaler"]).replicas == 2
