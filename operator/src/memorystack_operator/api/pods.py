"""Overrides of the runtime's pods. Knows what people may ask for; nothing of the pods that are rendered."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from memorystack_operator.api import rules
from memorystack_operator.api.cel import Cel, listed, ruled
from memorystack_operator.api.fields import Label, Model, Name, Quantity, SecretKeyRef

__all__ = ["Affinity", "EnvVar", "SecretName", "Template", "Toleration"]

Amounts = Annotated[dict[Label, Quantity], Field(max_length=16)]
Labels = Annotated[dict[Label, Label], Field(max_length=64)]


class EnvSource(Model):
    """Where a variable's value stands."""

    secret_key_ref: SecretKeyRef
    """A key of a Secret in the stack's namespace."""


class EnvVar(Model):
    """A variable of the runtime's container. Give exactly one of value and valueFrom."""

    model_config = ruled(Cel("has(self.value) != has(self.valueFrom)", "give exactly one of value and valueFrom"))

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,253}$", max_length=254)]
    """Name of the variable; one that the operator sets itself is not overridden."""
    value: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """Its value, for everybody to read."""
    value_from: EnvSource | None = None
    """A Secret that holds its value."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.value, self.value_from, "value and valueFrom")
        return self


class Toleration(Model):
    """A taint that the pods tolerate, as in a pod's spec."""

    key: Label | None = None
    """Key of the taint; left out, with operator Exists: every one."""
    operator: Literal["Exists", "Equal"] | None = None
    """Equal where it is left out."""
    value: Label | None = None
    """Value of the taint, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Left out: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """How long NoExecute is tolerated; left out: for ever."""


class Affinity(Model):
    """As in a pod's spec; the API server checks it when the Deployment is made."""

    node_affinity: dict[str, Any] | None = None
    """Which nodes the pods want."""
    pod_affinity: dict[str, Any] | None = None
    """Which pods they want to be near to."""
    pod_anti_affinity: dict[str, Any] | None = None
    """Which pods they want to be far from."""


class SecretName(Model):
    """A Secret in the stack's namespace."""

    name: Name
    """Its name."""


class Template(Model):
    """Overrides of the runtime's pods; a change rolls them over."""

    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=listed("map", "name"))] = ()
    """Further variables of the container."""
    resources: dict[Literal["requests", "limits"], Amounts] = {}
    """Requests and limits of the container; left out: 100m of CPU and 192Mi of memory are requested."""
    labels: Labels = {}
    """Further labels of the pods; the operator's own win."""
    annotations: Annotated[dict[Label, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = {}
    """Further annotations of the pods; the operator's own win."""
    node_selector: Labels = {}
    """Labels of the nodes that may run the pods."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints of nodes that the pods tolerate."""
    affinity: Affinity | None = None
    """Which nodes and neighbours the pods want."""
    service_account_name: Name | None = None
    """A ServiceAccount of your own; left out: one without any right is made."""
    image_pull_secrets: Annotated[
        tuple[SecretName, ...], Field(max_length=8, json_schema_extra=listed("map", "name"))
    ] = ()
    """Secrets with which images are pulled, those of managed parts too."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        rules.no_repeats([variable.name for variable in self.env], "variable of a name")
        return self
