"""The part of a score's noise that its examples tell.

All trials of a search are scored on the same examples, so an example that is hard for all shifts
every score alike, and changes no difference. What is left is how trials disagree on examples beyond
their means: the interaction of trial and example in a two-way table with one score in each cell
(Searle, Casella and McCulloch, Variance Components, 1992, section 4.5). Divided by the number of
examples it is the variance of a score that other examples of the same kind would have changed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .coordinates import Array

    Outcomes = Mapping[str, Sequence[float | None]]

FEWEST_TRIALS = 3
"""Trials that share examples, with fewer of which a disagreement is not measured."""
POOLED = 10.0
"""Weight, in trials, of the mean disagreement in that of one trial."""


def known_variances(outcomes: Sequence[Outcomes | None], parts: Sequence[str]) -> Array:
    """Return the variance of each trial's score that is due to its examples.

    Args:
        outcomes: Of each trial: scores on the examples by benchmark, in one order for all; None
            where they are not known.
        parts: The benchmarks that the score is the unweighted mean of.

    Returns:
        One for each trial. The variances of benchmarks add, each divided by the square of their
        number. A trial without outcomes gets the others' mean, and 0 where there are too few of
        those: the noise that is fitted then has to explain everything.
    """
    total = np.zeros(len(outcomes))
    for part in parts:
        total += _of_benchmark([None if one is None else one.get(part) for one in outcomes])
    return total / max(1, len(parts)) ** 2


def _of_benchmark(outcomes: Sequence[Sequence[float | None] | None]) -> Array:
    lengths = [len(one) for one in outcomes if one]
    if not lengths:
        return np.zeros(len(outcomes))
    num_examples = max(set(lengths), key=lengths.count)
    rows = [index for index, one in enumerate(outcomes) if one and len(one) == num_examples]
    if len(rows) < FEWEST_TRIALS or num_examples < 2:
        return np.zeros(len(outcomes))
    scores_TE = np.array(
        [[math.nan if one is None else one for one in outcomes[row] or ()] for row in rows]
    )
    scores_TE = scores_TE[:, np.isfinite(scores_TE).any(axis=0)]
    means_T = np.nanmean(scores_TE, axis=1, keepdims=True)
    rest_TE = scores_TE - means_T
    rest_TE = rest_TE - np.nanmean(rest_TE, axis=0, keepdims=True)
    num_TE = np.isfinite(rest_TE).sum(axis=1)
    # An example's mean over the trials takes a share of each trial's own disagreement with it.
    share = len(rows) / (len(rows) - 1)
    found_T = share * np.nansum(rest_TE**2, axis=1) / np.maximum(num_TE - 1, 1)
    pooled = float(found_T.mean())
    found_T = (found_T + POOLED * pooled) / (1 + POOLED)
    variances = np.full(len(outcomes), pooled / num_examples)
    variances[rows] = found_T / np.maximum(num_TE, 1)
    return variances
