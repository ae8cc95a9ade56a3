"""The marked blocks of docs/verdict.md, docs/verdict-tables.md and README, from the report's JSON alone. Knows the JSON's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Final

from simulation.noise import NOISES
from simulation.plan import BY_DEFAULT, HARMS, IN_PAIRS, REVERSED, SHARES, UNCOVERED
from simulation.rivals import RULES

__all__ = ["blocks", "pair", "table"]

Report = Mapping[str, Any]
Cells = Sequence[Mapping[str, Any]]
LABELS: Final = {noise.key: noise.label for noise in NOISES}
TOLD: Final = ("argo-fast", "flagger-documented")
"""The rival rules that docs/verdict-tables.md shows, a quick one and a careful one; simulation.md has all of them."""


def blocks(report: Report) -> dict[str, str]:
    """By the name in the document's mark."""
    return {
        "overview": _overview(report),
        "healthy": _healthy(report),
        "bad": _bad(report),
        "interference": _interference(report),
        "outlasting": _outlasting(report),
        "stages": _stages(report),
        "paired": _paired(report),
        "harmful": _harmful(report),
        "reverse": _reverse(report),
        "bars": _bars(report),
        "readme": _readme(report),
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def pair(values: Sequence[float | None]) -> str:
    """Median and p90; a dash where fewer runs than that came to it."""
    return " / ".join("-" if v is None else f"{v:.0f}" for v in values)


def _overview(report: Report) -> str:
    head = ["noise", "does nothing: rejected", "bad: taken back, s", "harms everybody: convicted, min",
            "innocent, on trial by lot: convicted", "three harmless flags: promoted by the defaults, min",
            f"by {IN_PAIRS}"]  # fmt: skip
    rows = []
    for noise in NOISES:
        healthy = _cells(report, "healthy", noise=noise.key)
        (bad,) = _cells(report, "bad", noise=noise.key)
        harm = _cells(report, "interference", noise=noise.key, case=".02 -> 0.07")
        stages = [_cells(report, "stages", noise=noise.key, case=case) for case in (BY_DEFAULT, IN_PAIRS)]
        rows.append([
            noise.label,
            f"{_part(healthy, 'rejected')} of {_runs(healthy)}",
            pair(bad["rejectedSeconds"]),
            _convicted(harm[0]) if harm else "",
            _part(_cells(report, "innocent", noise=noise.key), "rejected"),
            *(_promoted(cells[0]) if cells else "" for cells in stages),
        ])  # fmt: skip
    return table(head, rows)


def _healthy(report: Report) -> str:
    head = ["noise", "rollouts", "**rejected**", *(f"promoted, p = {100 * p:g} %" for p in SHARES), *_rivals()]
    rows = []
    for noise in NOISES:
        ours = _cells(report, "healthy", noise=noise.key)
        promoted = [_promoted(c) for c in ours if c["p"] in SHARES]
        rivals = [_part(_cells(report, "rivals-healthy", noise=noise.key, judge=r), "rejected") for r in TOLD]
        rows.append([noise.label, str(_runs(ours)), f"**{_part(ours, 'rejected')}**", *promoted, *rivals])
    return table(head, rows)


def _bad(report: Report) -> str:
    head = ["noise", "**MemoryStack**: s; bad answers", *_rivals()]
    rows = []
    for noise in NOISES:
        (ours,) = _cells(report, "bad", noise=noise.key)
        rivals = [_cells(report, "rivals-bad", noise=noise.key, judge=r)[0] for r in TOLD]
        rows.append([noise.label, *(f"{pair(c['rejectedSeconds'])}; {pair(c['badAnswers'])}" for c in (ours, *rivals))])
    return table(head, rows)


def _interference(report: Report) -> str:
    cases = [f".02 -> {harm}{fades}" for fades in ("", ", fades over 3.0 s") for harm in ("0.15", "0.07")]
    head = ["noise", *(f"2 -> {_percents(c)}" for c in cases), "nothing"]
    rows = []
    for noise in NOISES:
        found = {c["case"]: c for c in _cells(report, "interference", noise=noise.key)}
        convicted = [_convicted(found[c]) if c in found else "" for c in cases]
        rows.append([noise.label, *convicted, _part(_cells(report, "innocent", noise=noise.key), "rejected")])
    return table(head, rows)


def _outlasting(report: Report) -> str:
    found = [c for c in report["cells"] if c["study"] == "interference" and c["case"].endswith(("10.0 s", "30.0 s"))]
    noises = list(dict.fromkeys(c["noise"] for c in found))
    rows = []
    for case in dict.fromkeys(c["case"] for c in found):
        by = {c["noise"]: c for c in found if c["case"] == case}
        rows.append([f"2 -> {_percents(case)}", str(by[noises[0]]["runs"]), *(_convicted(by[n]) for n in noises)])
    return table(["harm", "rollouts of each", *(LABELS[n] for n in noises)], rows)


def _convicted(cell: Mapping[str, Any]) -> str:
    return f"{_part([cell], 'rejected')}, {_minutes(cell['rejectedSeconds'])}"


def _promoted(cell: Mapping[str, Any]) -> str:
    return f"{_part([cell], 'promoted')}, {_minutes(cell['promotedSeconds'])}"


def _percents(case: str) -> str:
    """15 %, fades over 3 s; from .02 -> 0.15, fades over 3.0 s."""
    share, _, rest = case.removeprefix(".02 -> ").partition(",")
    return f"{100 * float(share):g} %{',' + rest.replace('.0 s', ' s') if rest else ''}"


def _stages(report: Report) -> str:
    found = _cells(report, "stages")
    settings = list(dict.fromkeys(c["case"] for c in found))
    rows = []
    for noise in dict.fromkeys(c["noise"] for c in found):
        by = {c["case"]: c for c in found if c["noise"] == noise}
        ended = [
            f"{_part([by[s]], 'promoted')} of {by[s]['runs']}, {_minutes(by[s]['promotedSeconds'])}" if s in by else ""
            for s in settings
        ]
        rows.append([LABELS[noise], *ended])
    return table(["noise", *settings], rows)


def _paired(report: Report) -> str:
    rows = []
    for study, name in (
        ("one-step-plain", "Plain, one step of 25 %"),
        ("one-step-paired", "Paired, one step of 25 %"),
        ("two-steps-paired", "Paired, the default two steps"),
    ):
        for noise in dict.fromkeys(c["noise"] for c in _cells(report, study)):
            found = {c["p"]: c for c in _cells(report, study, noise=noise)}
            cells = [_in_half_an_hour(found[p]) if p in found else "" for p in SHARES]
            rows.append([name, LABELS[noise], *cells])
    return table(["promotion", "noise", *(f"p = {100 * p:g} %: in 30 min; minutes" for p in SHARES)], rows)


def _in_half_an_hour(cell: Mapping[str, Any]) -> str:
    share = _share(cell["promotedInHalfAnHour"], cell["runs"])
    return f"{share} of {cell['runs']}, {_minutes(cell['promotedSeconds'])}"


def _harmful(report: Report) -> str:
    rows = []
    for case, _ in HARMS:
        found = _cells(report, "paired-false", case=case)
        worst = max(found, key=lambda c: c["promoted"] / c["runs"])
        said = f"{_part([worst], 'promoted')} ({LABELS[worst['noise']]})" if worst["promoted"] else "-"
        rows.append([case, "yes", str(_runs(found)), _part(found, "promoted"), said])
    for case, _ in UNCOVERED:
        found = _cells(report, "paired-uncovered", case=case)
        rows.append([case, "**no**", str(_runs(found)), f"**{_part(found, 'promoted')}**", LABELS[found[0]["noise"]]])
    return table(["harm by the flag", "covered", "rollouts", "promoted by Paired", "worst noise"], rows)


def _reverse(report: Report) -> str:
    rows = []
    for case in dict.fromkeys(c["case"] for c in _cells(report, "reverse")):
        ended = []
        for noise in REVERSED:
            (cell,) = _cells(report, "reverse", case=case, noise=noise)
            promoted = cell["runs"] - cell["reasons"].get("NotPromoted", 0)
            minutes = f", {_minutes(cell['rejectedSeconds'])}" if cell["rejected"] else ""
            ended.append(f"{cell['rejected']} of {promoted}{minutes}")
        rows.append([case, *ended])
    return table(["what turns bad after 100 %", *(LABELS[n] for n in REVERSED)], rows)


def _bars(report: Report) -> str:
    missed = [b for b in report["bars"] if not b["met"]]
    kept = len(report["bars"]) - len(missed)
    lines = [f"{kept} of {len(report['bars'])} bars are met; [simulation.md](simulation.md) has all of them."]
    if missed:
        lines = [f"{lines[0]} Missed:\n"]
    lines += [f"- {bar['name']}: {_measured(bar)}" for bar in missed]
    return "\n".join(lines)


def _measured(bar: Mapping[str, Any]) -> str:
    sign = "at most" if bar["atMost"] else "at least"
    if bar["value"] is None:
        return f"never; wanted {sign} {bar['limit']:g}"
    if not bar["runs"]:
        return f"{bar['value']:g}; wanted {sign} {bar['limit']:g}"
    shares = [f"{100 * bar[key]:.0f} %" for key in ("value", "low", "high", "limit")]
    return f"{shares[0]} of {bar['runs']} (95 % interval {shares[1]} to {shares[2]}); wanted {sign} {shares[3]}"


def _readme(report: Report) -> str:
    healthy = [c for c in report["cells"] if c["study"] == "healthy"]
    (bad,) = _cells(report, "bad", noise="iid")
    ours = [c for c in healthy if c["noise"] == "bursts"]
    fast = _cells(report, "rivals-healthy", judge="argo-fast", noise="bursts")
    innocent = [c for c in report["cells"] if c["study"] == "innocent"]
    missed, every = sum(not b["met"] for b in report["bars"]), len(report["bars"])
    bars = f"{missed} of {every} bars are missed, and named" if missed else f"All {every} bars are met"
    rollouts = sum(c["runs"] for c in report["cells"] if not c["study"].startswith("rivals"))
    said = (
        f"`make simulate` puts the shipped engine through {rollouts} rollouts. A flag that does nothing was rejected in "
        f"{_part(healthy, 'rejected')} of {_runs(healthy)}, under noise of eight kinds; in bursts in {_part(ours, 'rejected')}, where "
        f"the fastest rule for Argo Rollouts rejects {_part(fast, 'rejected')} on the same traffic. One that takes p95 from 150 to 375 ms "
        f"was taken back after {bad['rejectedSeconds'][0]:.0f} s and {bad['badAnswers'][0]:.0f} bad answers (medians, steady traffic). An innocent flag on "
        f"trial by lot was convicted in {_part(innocent, 'rejected')} of {_runs(innocent)}. {bars}: "
        "[what is claimed, and what is not](docs/verdict.md)."
    )
    return fill(said, 145, break_long_words=False, break_on_hyphens=False)


def _rivals() -> list[str]:
    return [RULES[key].label.split(" (")[0] for key in TOLD]


def _cells(report: Report, study: str, **wanted: object) -> Cells:
    return [c for c in report["cells"] if c["study"] == study and all(c[k] == v for k, v in wanted.items())]


def _runs(cells: Cells) -> int:
    return sum(c["runs"] for c in cells)


def _part(cells: Cells, key: str) -> str:
    return _share(sum(c[key] for c in cells), _runs(cells))


def _share(hits: int, runs: int) -> str:
    share = 100 * hits / runs
    return f"{share:.0f} %" if hits in (0, runs) or share >= 10 else f"{share:.1f} %"


def _minutes(values: Sequence[float | None]) -> str:
    return " / ".join("-" if v is None else f"{v / 60:.1f}" if v < 600 else f"{v / 60:.0f}" for v in values)
