"""Writes what in charts/ is made of other files: the CRD's template, of crds/; and the table in README.md, of values.yaml.

    python charts/generate.py           writes
    python charts/generate.py --check   says what is stale, and ends with 1

Knows: these files' shapes. Must not know: the models behind the CRD, or any template.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

__all__ = ["main"]

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts" / "memorystack-operator"
CRD: Final = ROOT / "crds" / "memorystacks.memorystack.dev.yaml"
BEGIN: Final = "<!-- values: made by `make generate` of the comments in values.yaml -->\n"
END: Final = "<!-- end of values -->\n"
NAME: Final = "  name: memorystacks.memorystack.dev\n"
LABELS: Final = """\
  labels:
    {{- include "operator.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


class Malformed(Exception):  # noqa: N818 -- reads as what it says
    """A source of ours has another shape than this file knows: the message names it and the remedy."""


@dataclass(frozen=True)
class Value:
    """One row: where it is, its default as YAML, and what it does."""

    path: str
    default: str
    text: str


def crd_template(text: str) -> str:
    """The definition behind crds.enabled, and kept on uninstallation where crds.keep says so."""
    if text.count(NAME) != 1:
        raise Malformed(f"{CRD} has not exactly one line {NAME.strip()!r}: adapt charts/generate.py")
    head, tail = text.replace("{{", '{{ "{{" }}').split(NAME)
    return "{{- if .Values.crds.enabled }}\n" + head + NAME + LABELS + tail + "{{- end }}\n"


def values(text: str) -> Iterator[Value]:
    """Every leaf, in the file's order. Raises Malformed for one without a comment right above it."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise Malformed("values.yaml is no mapping")
    yield from _leaves(root, "", text.splitlines())


def _leaves(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        text = _comment(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not text:
            yield from _leaves(value, f"{path}.", lines)
            continue
        if not text:
            raise Malformed(f"values.yaml, line {key.start_mark.line + 1}: {path} has no comment above it")
        default = yaml.safe_load(yaml.serialize(value))
        shown = yaml.safe_dump(default, default_flow_style=True, width=10_000, sort_keys=False)
        yield Value(path, shown.removesuffix("\n").removesuffix("\n..."), text)


def _comment(lines: list[str], line: int) -> str:
    """The comment lines that end right above `line`."""
    found: list[str] = []
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip().removeprefix("#").strip())
    return " ".join(found)


def table(rows: Iterator[Value]) -> str:
    """In Markdown."""
    lines = [f"| `{r.path}` | `{r.default}` | {r.text.replace('|', chr(92) + '|')} |" for r in rows]
    return "\n".join(["| value | default | what it does |", "|---|---|---|", *lines, ""])


def readme(old: str, rows: Iterator[Value]) -> str:
    """With a new table between the two marks."""
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise Malformed("README.md must hold each of the two marks once:\n" + BEGIN + END)
    return old.partition(BEGIN)[0] + BEGIN + table(rows) + END + old.partition(END)[2]


def made() -> dict[Path, str]:
    """File -> what it must hold."""
    text = (CHART / "values.yaml").read_text()
    page = CHART / "README.md"
    return {
        CHART / "templates" / "crd.yaml": crd_template(CRD.read_text()),
        page: readme(page.read_text(), values(text)),
    }


def main(words: list[str]) -> int:
    """The exit code."""
    wanted = made()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if words == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run make generate, and commit it\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
