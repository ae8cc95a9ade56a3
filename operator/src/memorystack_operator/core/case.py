"""What the verdict table looks at: each operation's findings and counts, and where the step stands.

Knows: shapes. Must not know: what follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from memorystack_operator.core.evidence import Finding, Findings, Tally

__all__ = ["Case", "Judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One operation as the table sees it."""

    name: str
    limit: str
    """The budget in words, as `250ms` or `1 %`."""
    findings: Findings
    canary: Tally
    stable: Tally
    over_budget_before: bool = False
    over_for: timedelta = timedelta()
    """How long `over` has held without a break."""
    proof: Finding | None = None
    """Pairs of windows and Plain's evidence together, where the step is being proved."""

    @property
    def improves(self) -> bool:
        """Row 7: it was over its budget, and the canary is proved better."""
        return self.over_budget_before and self.findings.better.holds

    @property
    def within(self) -> bool:
        """Row 8: the canary's own counts prove its budget kept."""
        return self.findings.within.holds and not self.findings.over.holds

    @property
    def proved(self) -> bool:
        """Row 8 by pairs: what own counts cannot tell under bursts, their differences can."""
        holds = self.proof is not None and self.proof.holds
        return holds and not self.findings.over.holds and not self.findings.worse.holds

    @property
    def passes(self) -> bool:
        """A promotion may rest on it."""
        return self.improves or self.within or self.proved


@dataclass(frozen=True, slots=True)
class Case:
    """All that the table looks at."""

    operations: tuple[Judged, ...]
    errors: Judged | None = None
    """Failed requests of all operations; convicts only."""
    no_data: bool = False
    require_better: bool = False
    """`analysis.require: Better`."""
    early: bool = False
    """Before the step's minDuration."""
    timed_out: bool = False
