"""`memorystack crd`."""

from __future__ import annotations

import click

from memorystack_operator.api.crd import definition_yaml
from memorystack_operator.core import ENGINE_RECORDS, Status

__all__ = ["crd"]


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinition of this version.

    \b
      memorystack crd | kubectl apply --server-side -f -

    Exit codes: 0 printed.
    """
    click.echo(definition_yaml(Status, opaque=ENGINE_RECORDS), nl=False)
