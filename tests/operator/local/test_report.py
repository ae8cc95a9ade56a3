"""A running stack as one value for those who look at it."""

from __future__ import annotations

from types import SimpleNamespace

from support.world import FLAG, World, settled_world

from memorystack_operator.local.report import Report, make_report


def report(world: World) -> Report:
    pods = [
        SimpleNamespace(
            name=p.name, host="127.0.0.2", port=1, internal_url="u", ready=p.ready, daemon=SimpleNamespace(restarts=0)
        )
        for p in world.pods
    ]
    source = SimpleNamespace(stack=world.stack, refusal="")
    return make_report(source, world.status, pods, {}, file="s.yaml", gateway="g")


def arms(world: World) -> set[str]:
    return {pod.name for pod in report(world).pods if pod.arm == "canary"}


def test_pods_are_an_arm_of_their_own_from_the_flip_until_the_flags_are_withdrawn_for_good():
    world = settled_world(30)
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: w.phase == "Calibrating")
    assert arms(world) == set()
    assert world.run(300, until=lambda w: bool(w.flagged))
    assert arms(world) == set(world.status.rollout.pods)
    world.shared = 0.5
    assert world.run(120, until=lambda w: w.phase == "Withdrawn")
    assert arms(world) == set()
    assert world.run(200, until=lambda w: w.phase == "Switchback")
    world.run(30, until=lambda w: not w.flagged)
    assert arms(world) == set(world.status.rollout.pods)
