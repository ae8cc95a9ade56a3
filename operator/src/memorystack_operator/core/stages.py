"""From a spec and the stable flags to ordered stages: one flag at a time. Knows flags; nothing of pods or evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from memorystack_operator.api.spec import FEATURE_NAMES, FeatureName, Spec
from memorystack_operator.api.status import Rejection
from memorystack_runtime.contract import Features

__all__ = ["Stage", "canonical", "differing", "in_spec", "pending", "with_flag_of"]

_FIELDS = {"httpPool": "http_pool", "parallelIngest": "parallel_ingest", "cache": "cache"}


@dataclass(frozen=True, slots=True)
class Stage:
    """One flag to be tried: its wanted value on top of the stable ones."""

    name: FeatureName
    value: str
    """Canonical JSON of the flag."""
    target: Features


def canonical(features: Features, name: str) -> str:
    """One flag's value as sorted JSON: two spellings of one value are the same."""
    value = getattr(features, _FIELDS[name]).model_dump(mode="json", by_alias=True)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def with_flag_of(features: Features, name: str, other: Features) -> Features:
    """`features`, but one flag as it is in `other`."""
    return features.model_copy(update={_FIELDS[name]: getattr(other, _FIELDS[name])})


def differing(spec: Spec, stable: Features) -> tuple[Stage, ...]:
    """A stage for each flag whose value in the spec is not the stable one, in `rollout.order`; unnamed flags come last."""
    wanted = spec.features.flags()
    order = (*spec.rollout.order, *(n for n in FEATURE_NAMES if n not in spec.rollout.order))
    return tuple(
        Stage(n, canonical(wanted, n), with_flag_of(stable, n, wanted))
        for n in order
        if canonical(wanted, n) != canonical(stable, n)
    )


def pending(spec: Spec, stable: Features, rejected: Sequence[Rejection], template: str) -> tuple[Stage, ...]:
    """The stages that may be tried now. A rejected one is skipped, and with `onReject: Stop` so are all others."""
    stages = differing(spec, stable)
    barred = {(r.stage, r.value) for r in rejected if r.template == template}
    open_stages = tuple(s for s in stages if (s.name, s.value) not in barred)
    if spec.rollout.on_reject == "Stop" and len(open_stages) < len(stages):
        return ()
    return open_stages


def in_spec(spec: Spec, rejected: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """The rejections whose value still stands in the spec: the quarantine ends when it leaves."""
    wanted = spec.features.flags()
    return tuple(r for r in rejected if r.stage in _FIELDS and canonical(wanted, r.stage) == r.value)
