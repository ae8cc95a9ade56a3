"""A titled text with the tables behind it, in four formats: text, Markdown, JSON, YAML.

Knows: how to print. Must not know: what is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import click
import yaml
from pydantic import BaseModel
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

__all__ = ["FORMATS", "Document", "Format", "Table", "change_text", "flag_text", "output_option", "show"]

Format = Literal["text", "markdown", "json", "yaml"]
FORMATS: Final[tuple[Format, ...]] = ("text", "markdown", "json", "yaml")
output_option = click.option(
    "--output", type=click.Choice(FORMATS), default="text", show_default=True, help="For people or programs."
)


PIPED_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are read; the first column is a name."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Document:
    """For people; `data` is the same for programs."""

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    data: BaseModel
    remarks: Sequence[str] = ()
    """Shown first of all that is not the title: what must not be overlooked."""


def show(document: Document, output: Format) -> None:
    """On standard output."""
    if output == "json":
        click.echo(document.data.model_dump_json(by_alias=True, indent=2))
    elif output == "yaml":
        data = document.data.model_dump(mode="json", by_alias=True)
        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    elif output == "markdown":
        click.echo(_markdown(document))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        console.print(_text(document))


def flag_text(canonical: str) -> str:
    """A flag's canonical JSON as people write it in YAML: `{concurrency: 4}`."""
    return yaml.safe_dump(yaml.safe_load(canonical), default_flow_style=True, width=1000).strip()


def change_text(before: str, after: str) -> str:
    """Only what differs between two values of a flag, as canonical JSON: `{concurrency: 0} -> {concurrency: 4}`."""
    old, new = yaml.safe_load(before), yaml.safe_load(after)
    differing = [key for key in new if old.get(key) != new[key]]
    return " -> ".join(flag_text(json.dumps({key: side.get(key) for key in differing})) for side in (old, new))


def _text(document: Document) -> RenderableType:
    parts: list[RenderableType] = [Text(document.title, style="bold")]
    parts += [Text(f"! {remark}", style="yellow") for remark in document.remarks]
    parts += [Text(sentence) for sentence in document.sentences]
    for table in document.tables:
        drawn = RichTable(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for i, name in enumerate(table.header):
            drawn.add_column(name, justify="right" if i else "left", overflow="fold")
        for row in table.rows:
            drawn.add_row(*(Text(cell) for cell in row))
        parts += [Text(), Text(table.title, style="bold"), drawn]
    return Group(*parts)


def _markdown(document: Document) -> str:
    parts = [f"## {document.title}", *(f"> **Note:** {remark}" for remark in document.remarks)]
    parts += [" ".join(document.sentences)] if document.sentences else []
    for table in document.tables:
        lines = [_row(table.header), _row([":---", *("---:" for _ in table.header[1:])]), *map(_row, table.rows)]
        parts += [f"### {table.title}", "\n".join(lines)]
    return "\n\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
