"""Accuracy and likelihood of one trial: two noisy views of how good its setting is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.spec.metric_names import MEAN

from .files import read_references, read_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from droplora_sweep.records.trial import TrialRecord


@dataclass(frozen=True)
class View:
    """A measurement of a trial; more is better.

    Attributes:
        value: Score in [0, 1], or the negative of the references' bits per byte.
        standard_error: Of the choice of examples alone: another seed adds noise of its own.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class Views:
    """The views of one trial on one subject.

    Attributes:
        score: Mean score; None where a benchmark has no example with a score.
        likelihood: None where it was not measured, or there are no references.
    """

    score: View | None
    likelihood: View | None


def views_of(trial: TrialRecord, subject: str) -> Views:
    """Return both views of a finished trial, from its per-example results (see ``views``).

    Raises:
        SweepError: The results are missing or damaged.
    """
    if trial.results is None:
        raise SweepError(f"{trial.trial_id}: must have results of its examples, got none")
    return views(read_scores(trial.results), read_references(trial.results), subject)


def views(
    scores: Mapping[str, Mapping[str, float | None]],
    references: Mapping[str, Mapping[str, tuple[float, int]]],
    subject: str,
) -> Views:
    """Return both views of what was scored; pure.

    The views of two trials of a sweep are of the same examples, and so are correlated.

    Args:
        scores: Each example's score by benchmark and example id, as ``read_scores`` gives them.
        references: Likewise the likelihoods, as ``read_references`` gives them.
        subject: A benchmark, or ``mean`` for the unweighted mean of all.
    """
    parts = list(scores) if subject == MEAN else [subject]

    def score(benchmark: str) -> View | None:
        known = [one for one in scores.get(benchmark, {}).values() if one is not None]
        return _mean(known)

    def likelihood(benchmark: str) -> View | None:
        known = list(references.get(benchmark, {}).values())
        return _bits_per_byte([nats for nats, _ in known], [size for _, size in known])

    with_references = [one for one in parts if one in references]
    return Views(_over(parts, score), _over(with_references, likelihood))


def _over(benchmarks: Collection[str], view: Callable[[str], View | None]) -> View | None:
    """Return the unweighted mean over benchmarks, whose examples are independent."""
    found = [view(name) for name in benchmarks]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    error = math.hypot(*(one.standard_error for one in known)) / len(known)
    return View(fmean(one.value for one in known), error)


def _mean(values: Sequence[float]) -> View | None:
    if not values:
        return None
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return View(fmean(values), error)


def _bits_per_byte(nats: Sequence[float], sizes: Sequence[int]) -> View | None:
    """Return a ratio of sums with its error (Cochran, Sampling Techniques, 1977, eq. 2.39)."""
    if not nats:
        return None
    ratio = math.fsum(nats) / sum(sizes)
    residual = _mean([one - ratio * size for one, size in zip(nats, sizes, strict=True)])
    assert residual is not None, "there are examples"
    bit = math.log(2)
    return View(ratio / bit, residual.standard_error / fmean(sizes) / bit)
