"""Overrides of the runtime's pods. Knows what people may ask for; nothing of the pods that are rendered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from memorystack_operator.api.fields import Label, Model, Name, Quantity

__all__ = ["EnvVar", "Template"]

Amounts = Annotated[dict[Label, Quantity], Field(max_length=16)]
Labels = Annotated[dict[Label, Label], Field(max_length=64)]


class EnvVar(Model):
    """A variable of the runtime's container, as it is; secrets do not belong here."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,253}$", max_length=254)]
    """Name of the variable; one that the operator sets itself is not overridden."""
    value: Annotated[str, StringConstraints(max_length=4096)]
    """Its value."""


class Template(Model):
    """Overrides of the runtime's pods; a change rolls them over."""

    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    """Further variables of the container."""
    resources: dict[Literal["requests", "limits"], Amounts] = {}
    """Requests and limits of the container; left out: 100m of CPU and 192Mi of memory are requested."""
    labels: Labels = {}
    """Further labels of the pods; the operator's own win."""
    annotations: Annotated[dict[Label, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = {}
    """Further annotations of the pods."""
    node_selector: Labels = {}
    """Labels of the nodes that may run the pods."""
    service_account_name: Name | None = None
    """A ServiceAccount of your own; left out: one without any right is made."""
