"""A stack whose pods an autoscaler counts, and one that a newer operator takes over."""

from __future__ import annotations

from support.world import FLAG, World, stack

SCALED = {"replicas": None, "autoscaling": {"minReplicas": 3, "maxReplicas": 8}}


def settled(**spec) -> World:
    world = World(stack(**spec))
    world.run(200)
    return world


def test_a_flag_is_judged_while_an_autoscaler_counts_the_pods():
    world = settled(**SCALED)
    world.edit(**SCALED, features=FLAG)
    assert world.run(300, until=lambda w: w.phase == "Progressing")
    assert len(world.flagged) == 1
    world.scaled = 6
    world.scale()
    world.run(3)
    assert len(world.flagged) == 2, "34 % of six pods"
    assert "6 of 6" in world.condition("Ready").message
    assert world.run(900, until=lambda w: w.phase == "Idle")
    assert world.serving.parallel_ingest.concurrency == 4


def test_a_deployment_that_was_not_read_yet_counts_by_its_least_pods():
    world = World(stack(**SCALED))
    world.pods.clear()
    decision = world.round()
    assert "0 of 3" in next(c for c in decision.status.conditions if c.type == "Ready").message


def test_a_newer_operator_moves_no_pod_until_the_template_changes():
    world = settled()
    deployment = next(c for c in world.decision.children if c["kind"] == "Deployment")
    world.image = "memorystack-runtime:9"
    world.run(5)
    assert next(c for c in world.decision.children if c["kind"] == "Deployment") == deployment
    assert world.phase == "Idle"
    world.edit(template={"labels": {"team": "x"}})
    world.run(3)
    moved = next(c for c in world.decision.children if c["kind"] == "Deployment")
    assert moved["spec"]["template"]["spec"]["containers"][0]["image"] == "memorystack-runtime:9"
    assert world.status.stable.image == "memorystack-runtime:9"


def test_an_image_of_the_spec_outranks_every_release():
    world = settled(image="mine:1")
    world.image = "memorystack-runtime:9"
    world.run(3)
    deployment = next(c for c in world.decision.children if c["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:1"
