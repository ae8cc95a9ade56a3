"""The words of a verdict: counts, evidence and what was not judged, as parts of a sentence.

Knows: what the table looks at. Must not know: the table, or what a verdict leads to.
"""

from __future__ import annotations

from math import exp

from memorystack_operator.core.case import Case, Judged
from memorystack_operator.core.evidence import P0, Finding, Tally

__all__ = ["besides", "counts", "multiple", "not_judged", "passed", "progress", "proof_of_worse"]


def multiple(finding: Finding) -> str:
    """Evidence for people: `43x of 100x needed`."""
    return f"{_times(finding.log_e)} of {_times(finding.needed)} needed"


def passed(op: Judged) -> str:
    """Why a promotion may rest on this operation."""
    if op.proof and op.proved and not op.improves and not op.within:
        return f"{op.name} proved within {op.limit} by pairs: {counts(op)}; evidence {multiple(op.proof)}"
    if op.improves:
        left = f" (still over {op.limit})" if op.canary.share > P0 else f" (now within {op.limit})"
        return f"{op.name} improves: {counts(op)}; evidence {multiple(op.findings.better)}{left}"
    return f"{op.name} within {op.limit}: {counts(op)}; evidence {multiple(op.findings.within)}"


def progress(op: Judged) -> str:
    """How far the questions that decide are answered."""
    if op.over_budget_before:
        return f"{op.name}: better {multiple(op.findings.better)}, worse {multiple(op.findings.worse)}"
    return f"{op.name}: within {multiple(op.findings.within)}, over {multiple(op.findings.over)}"


def proof_of_worse(op: Judged) -> str:
    """Why a conviction rests on this operation."""
    return f"evidence of worse {multiple(op.findings.worse)}"


def not_judged(case: Case) -> str:
    """The operations that nobody asked for; empty: none."""
    names = [op.name for op in case.operations if not op.canary.requests]
    return f"; {', '.join(names)} not judged (no requests)" if names else ""


def besides(case: Case, convicted: Judged) -> str:
    """What a reader of a conviction asks next: did requests fail, and were the other operations well?"""
    failed = f"; failed requests: {counts(case.errors, 'failed')}" if case.errors else ""
    names = [op.name for op in case.operations if op is not convicted and op.canary.requests]
    open_still = f"; {', '.join(names)} not judged to the end" if names else ""
    return failed + open_still + not_judged(case)


def counts(op: Judged, word: str = "bad") -> str:
    """Both arms, as counted."""

    def arm(name: str, tally: Tally) -> str:
        return f"{name} {tally.bad} of {tally.requests} {word} ({100 * tally.share:.1f} %)"

    return f"{arm('canary', op.canary)}, {arm('stable', op.stable)}"


def _times(log_e: float) -> str:
    """Three digits are enough, and beyond a million or below a hundredth nobody reads the rest."""
    value = exp(min(log_e, 700.0))
    if value > 1e6:
        return "over 1000000x"
    return f"{value:.0f}x" if value >= 100 else f"{value:.3g}x" if value >= 0.01 else "under 0.01x"
