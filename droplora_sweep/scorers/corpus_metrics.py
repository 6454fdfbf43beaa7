"""Metrics of all responses to a benchmark together, by name (computed in ``evaluation.corpus``)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .scorer import Scorer

MAX_LABELS: Final = 50
"""Number of different right answers up to which they are labels."""


@dataclass(frozen=True)
class CorpusMetric:
    """A metric of all responses to a benchmark; more of it is better, and 0 is the least.

    Attributes:
        most: Its largest value.
        package: Package that it imports, which the extra ``metrics`` installs.
        needs_labels: True where right answers must be few.
    """

    most: int = 1
    package: str | None = None
    needs_labels: bool = False

    @property
    def is_missing(self) -> bool:
        """True where its package is not installed."""
        return self.package is not None and find_spec(self.package) is None


CORPUS_METRICS: Final[dict[str, CorpusMetric]] = {
    "f1": CorpusMetric(),
    "exact_match": CorpusMetric(),
    "macro_f1": CorpusMetric(needs_labels=True),
    "bleu": CorpusMetric(most=100, package="sacrebleu"),
    "chrf": CorpusMetric(most=100, package="sacrebleu"),
    "rouge1": CorpusMetric(package="rouge_score"),
    "rouge2": CorpusMetric(package="rouge_score"),
    "rougeL": CorpusMetric(package="rouge_score"),
}
"""Metrics by the name that they have in a benchmark's ``metrics``."""


def reported(scorer: Scorer, metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of a benchmark: those of its scorer, and its own."""
    return tuple(dict.fromkeys((*scorer.reports, *metrics)))
