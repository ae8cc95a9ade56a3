"""Worlds whose bursts leave Plain without a verdict, so that a flag is proved in pairs of windows."""

from __future__ import annotations

from support.world import FLAG, World, remembered, rollout, stack


def burst_over_time(world: World, phi: float = 400.0) -> None:
    """From now on the canary's own counts say nearly nothing."""
    current = world.status.rollout
    evidence = {
        name: e.model_copy(update={"effect": e.effect.model_copy(update={"phi_abs": phi})})
        for name, e in current.evidence.items()
    }
    # As if measured: a young stack's noise is measured again, and it would come out that there is none.
    priors = {
        name: prior.model_copy(update={"effect": prior.effect.model_copy(update={"source": "Measured"})})
        for name, prior in current.calibration.operations.items()
    }
    known = {"evidence": evidence, "calibration": current.calibration.model_copy(update={"operations": priors})}
    world.status = world.status.model_copy(update={"rollout": current.model_copy(update=known)})


@remembered
def proving_world() -> World:
    """A stack whose bursts leave Plain without a verdict, so that the flag is proved in pairs."""
    analysis = {"interval": "1s", "timeout": "30m", "promotion": "Paired"}
    world = World(stack(rollout=rollout(analysis=analysis, budgets=[{"operation": "store", "p95": "250ms"}])), rate=60)
    for key in world.bad:
        world.bad[key] = 0.02
    world.run(700)
    world.edit(features=FLAG)
    world.run(60, until=lambda w: bool(w.flagged))
    burst_over_time(world)
    world.run(300, until=lambda w: w.phase == "Proving")
    return world
