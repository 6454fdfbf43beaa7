"""Metrics of all responses to a benchmark together, each with a 95 % bootstrap interval.

Corpus BLEU and macro-F1 are no means of anything that one example has, so that the analysis, which
compares trials example by example, cannot use them: they are reported beside the score. Each is a
function of sums over examples of a few numbers that one example has, so that a bootstrap sample
costs a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from droplora_sweep import private_api
from droplora_sweep.scorers.overlap import references
from droplora_sweep.scorers.table import SCORERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Summands = NDArray[np.float64]

NUM_SAMPLES: Final = 1000
"""Bootstrap samples of an interval, as sacrebleu and rouge_score take."""
SEED: Final = 12345
"""Seed of the bootstrap (sacrebleu's): equal responses have equal intervals."""
TAILS: Final = (2.5, 97.5)
"""Percentiles at the ends of a 95 % interval."""


@dataclass(frozen=True)
class Read:
    """A response as the benchmark's scorer read it.

    Attributes:
        response: The text.
        prediction: Answer that was read from it; None if none was.
        gold: The right answer.
    """

    response: str
    prediction: str | None
    gold: str


@dataclass(frozen=True)
class Interval:
    """A metric of a benchmark with its 95 % interval, in the metric's own units."""

    value: float
    low: float
    high: float


def measure(name: str, reads: Sequence[Read]) -> Interval:
    """Return a metric of at least one response.

    The interval is the bootstrap's percentile interval (Efron and Tibshirani 1993, section 13.3)
    over responses.

    Args:
        name: One of ``scorers.corpus_metrics``.
        reads: The responses, in an order that no number of workers changes.
    """
    if name == "macro_f1":
        return _of_sums(_label_counts(reads), _macro_f1)
    if name in ("bleu", "chrf"):
        from sacrebleu.metrics import BLEU, CHRF

        metric = BLEU() if name == "bleu" else CHRF()
        return _of_sums(
            _translation_statistics(metric, reads),
            lambda sums_SK: np.array([private_api.corpus_score(metric, one) for one in sums_SK]),
        )
    scorer = SCORERS[name]
    answers = [scorer.read(one.response, one.gold, "paper") for one in reads]
    return mean_interval([answer.credit or 0.0 for answer in answers])


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of at least one value, with the bootstrap's interval."""
    summands_NK = np.stack([np.array(values, np.float64), np.ones(len(values))], axis=1)
    return _of_sums(summands_NK, lambda sums_SK: sums_SK[:, 0] / sums_SK[:, 1])


def bootstrapped(
    items: Sequence[Any], value: Callable[[list[Any]], float], *, num_samples: int = NUM_SAMPLES
) -> Interval:
    """Return what is computed from all of at least one item, with the bootstrap's interval."""
    rng = np.random.default_rng(SEED)
    samples = [
        value([items[index] for index in rng.integers(0, len(items), len(items))])
        for _ in range(num_samples)
    ]
    low, high = np.percentile(samples, TAILS)
    return Interval(value(list(items)), float(low), float(high))


def _of_sums(summands_NK: Summands, value: Callable[[Summands], Summands]) -> Interval:
    """Return a function of the sums (samples, numbers) of what each response has."""
    num = len(summands_NK)
    drawn_SN = np.random.default_rng(SEED).multinomial(num, [1 / num] * num, NUM_SAMPLES)
    samples_S = value(drawn_SN @ summands_NK)
    low, high = np.percentile(samples_S, TAILS)
    return Interval(float(value(summands_NK.sum(0, keepdims=True))[0]), float(low), float(high))


def _translation_statistics(metric: Any, reads: Sequence[Read]) -> Summands:
    golds = [references(one.gold) for one in reads]
    streams = [
        [some[index] if index < len(some) else None for some in golds]
        for index in range(max(map(len, golds)))
    ]
    responses = [one.response.strip() for one in reads]
    return np.array(private_api.corpus_statistics(metric, responses, streams), np.float64)


def _label_counts(reads: Sequence[Read]) -> Summands:
    """Return, of each label in turn: was it said and right, and in how many of the two it is."""
    labels = sorted({one.gold for one in reads})
    said_NL = np.array([[one.prediction == label for label in labels] for one in reads], float)
    right_NL = np.array([[one.gold == label for label in labels] for one in reads], float)
    return np.concatenate([said_NL * right_NL, said_NL + right_NL], axis=1)


def _macro_f1(sums_SK: Summands) -> Summands:
    """Return the mean over labels of F1, ``2 tp / (2 tp + fp + fn)``; absent labels have none."""
    right_SL, both_SL = np.split(sums_SK, 2, axis=1)
    is_there_SL = both_SL > 0
    f1_SL = np.divide(2 * right_SL, both_SL, out=np.zeros_like(right_SL), where=is_there_SL)
    mean_S: Summands = f1_SL.sum(1) / is_there_SL.sum(1)
    return mean_S
