"""Bounded traffic of stores and recalls, from real text."""

from memorystack_operator.cli.traffic.corpus import Corpus, from_folder, from_topics
from memorystack_operator.cli.traffic.generator import Plan, Summary, Traffic

__all__ = ["Corpus", "Plan", "Summary", "Traffic", "from_folder", "from_topics"]
