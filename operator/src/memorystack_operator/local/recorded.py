"""What is known of a stack on this machine, whether it runs or not. Knows its records; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from memorystack_operator.api.spec import Spec
from memorystack_operator.core import Status
from memorystack_operator.local.actions import is_running
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.report import read_report
from memorystack_operator.local.state import StateFolder
from memorystack_operator.shell.scrape import Scraper
from memorystack_runtime.contract import EvidenceReport

__all__ = ["Recorded", "read_rings", "recorded"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The newest spec and status; `pods` (name -> base URL of the second port) are empty when it does not run."""

    spec: Spec
    status: Status
    pods: Mapping[str, str] = field(default_factory=dict)


def recorded(folder: StateFolder) -> Recorded | None:
    """None: nothing of that name has run here. Raises LocalError for a damaged record."""
    try:
        record = json.loads(folder.status.read_text())
        spec, status = Spec.model_validate_json(record["spec"]), Status.model_validate(record["status"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"the stack's record {folder.status} cannot be read: {str(error).splitlines()[0]}"
        raise LocalError(msg) from None
    report = read_report(folder.report) if is_running(folder) else None
    if report is None:
        return Recorded(spec, status)
    # Running counts reach the record every 15 s only.
    return Recorded(spec, report.status, {p.name: p.internal_url for p in report.pods if p.ready})


async def read_rings(known: Recorded) -> tuple[EvidenceReport, ...]:
    """What the pods themselves tell of their last half hour; those that do not answer are left out."""
    async with Scraper() as scraper:
        found = await scraper.read(known.pods, history=True)
    return tuple(report for report in found.values() if report)
