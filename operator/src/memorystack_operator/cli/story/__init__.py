"""The demo's story: a good flag is promoted, a bad one taken back, and a report that tells what really happened."""

from memorystack_operator.cli.story.check import check_report
from memorystack_operator.cli.story.report import ChangeReport, DemoReport, Starvation
from memorystack_operator.cli.story.story import Story

__all__ = ["ChangeReport", "DemoReport", "Starvation", "Story", "check_report"]
