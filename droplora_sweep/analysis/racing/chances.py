"""Predicted chances: what the seeds that are left would show, given those that there are.

Nothing is assumed of the true difference (a flat prior), so that the mean of the seeds to come
scatters around that of the seeds so far by the noise of both: after n of N seeds, the final mean
has the variance ``s^2 (1/n - 1/N)`` around today's, where ``s^2`` is the variance of one seed.
Effects of examples are the same in all of them and move nothing. That is predictive power
(Spiegelhalter, Freedman and Blackburn, Controlled Clinical Trials 7, 1986; Jennison and Turnbull,
Group Sequential Methods, 2000, section 10.4); the mean is over what ``s^2`` may be, as in
`interim.power`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

from droplora_sweep.analysis.interim import MOST_DF, chi_squares
from droplora_sweep.analysis.variance_components import combined_df

if TYPE_CHECKING:
    from droplora_sweep.analysis.evidence import Array
    from droplora_sweep.analysis.variance_components import Difference


def chance_of_significance(difference: Difference, num_seeds: int, level: float) -> float:
    """Return the chance that a gain is significant once there are ``num_seeds`` seeds.

    Args:
        difference: The arm less what it has to beat, as found so far.
        num_seeds: Seeds in all, those so far included.
        level: Of the two-sided test there; only a gain counts.
    """
    return _chance(difference, num_seeds, level=level)


def chance_of_lead(difference: Difference, num_seeds: int, num_errors: float) -> float:
    """Return the chance of a difference above so many standard errors, with ``num_seeds`` seeds.

    Args:
        difference: The arm less the one that leads, as found so far.
        num_seeds: Seeds in all, those so far included.
        num_errors: Standard errors by which the arm must lead; negative where it may be behind.
    """
    return _chance(difference, num_seeds, num_errors=num_errors)


def _chance(
    difference: Difference,
    num_seeds: int,
    *,
    level: float | None = None,
    num_errors: float = 0.0,
) -> float:
    if not np.isfinite(difference.standard_error):
        return 1.0
    chi_squares_N, weights_N = chi_squares(round(difference.seed_df, 2))
    each_N = difference.seed_variance * difference.num_seeds * difference.seed_df / chi_squares_N
    by_seeds_N = each_N / num_seeds
    errors_N = np.sqrt(by_seeds_N + difference.example_variance)
    needed_N: Array | float = num_errors
    if level is not None:
        seed_df = difference.seed_df * (num_seeds - 1) / max(difference.num_seeds - 1, 1)
        df_N = combined_df(by_seeds_N, seed_df, difference.example_variance)
        needed_N = stdtrit(np.minimum(df_N, MOST_DF), 1 - level / 2)
    moves_N = np.sqrt(each_N * max(0.0, 1 / difference.num_seeds - 1 / num_seeds))
    above_N = difference.estimate.value - needed_N * errors_N
    with np.errstate(divide="ignore"):
        scores_N = np.where(moves_N > 0, above_N / moves_N, np.copysign(np.inf, above_N))
    return float(weights_N @ ndtr(scores_N))
