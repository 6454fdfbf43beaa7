"""95 % intervals for scores, for paired differences, and for means of either over benchmarks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, norm, t

from .estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
Z = float(norm.ppf((1 + CONFIDENCE) / 2))
ROUNDING = 1e-9
"""Scores closer than this are equal: sums of them round at 1e-16."""


def proportion(num_correct: int, num_examples: int) -> Estimate:
    """Share of correct answers with Wilson's score interval (Wilson 1927)."""
    interval = binomtest(num_correct, num_examples).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(num_correct / num_examples, float(interval.low), float(interval.high))


def mean_score(scores: Sequence[float]) -> Estimate:
    """Mean of scores in [0, 1], at least one: a share (`proportion`) where all are 0 or 1."""
    if all(score in (0.0, 1.0) for score in scores):
        return proportion(round(sum(scores)), len(scores))
    return bounded_mean(scores, 0.0, 1.0)


def bounded_mean(values: Sequence[float], low: float, high: float) -> Estimate:
    """Mean of values between ``low`` and ``high``, with Student's t interval.

    One value alone says nothing of the spread: its interval is all that is possible. Where all
    values are the same, as many others as may go unseen could lie at either end.
    """
    value = math.fsum(values) / len(values)
    if len(values) == 1:
        return Estimate(value, low, high)
    spread = float(np.std(values, ddof=1))
    if spread < ROUNDING:
        unseen = unseen_share(len(values))
        return Estimate(value, value - unseen * (value - low), value + unseen * (high - value))
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * spread / math.sqrt(len(values))
    return Estimate(value, max(low, value - half), min(high, value + half))


def unseen_share(num_examples: int) -> float:
    """The upper 97.5 % limit of a share of which no example was seen.

    Hanley and Lippman-Hand (JAMA 249, 1983).

    >>> round(unseen_share(20), 3)
    0.168
    """
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / num_examples))


def paired_difference(num_gained: int, num_lost: int, num_examples: int) -> Estimate:
    """Difference of two shares on the same examples, with the interval of Bonett and Price.

    Adjusted Wald interval for paired proportions (J. Educ. Behav. Stat. 37, 2012): one example
    is added to each kind of disagreement, which keeps the coverage where they are few.

    Args:
        num_gained: Examples that only the first answered correctly.
        num_lost: Examples that only the second answered correctly.
        num_examples: All examples.
    """
    gained = (num_gained + 1) / (num_examples + 2)
    lost = (num_lost + 1) / (num_examples + 2)
    centre = gained - lost
    half = Z * math.sqrt((gained + lost - centre**2) / (num_examples + 2))
    value = (num_gained - num_lost) / num_examples
    return Estimate(value, max(-1.0, centre - half), min(1.0, centre + half))


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of independent estimates.

    The intervals are combined by MOVER (Zou and Donner, Stat. Med. 27, 2008): the distances
    from value to limit add in squares, which keeps Wilson's asymmetry near 0 and 1.
    """
    count = len(estimates)
    value = math.fsum(estimate.value for estimate in estimates) / count
    below = math.hypot(*(estimate.value - estimate.low for estimate in estimates)) / count
    above = math.hypot(*(estimate.high - estimate.value for estimate in estimates)) / count
    return Estimate(value, value - below, value + above)
