"""Predicted chances against draws of the seeds to come, and levels against normal integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal, norm
from scipy.stats import t as student

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.analysis.interim import UNLIKELY, nominal_levels
from droplora_sweep.analysis.racing.chances import chance_of_lead, chance_of_significance
from droplora_sweep.analysis.variance_components import Difference

NUM_DRAWS = 100_000
LOOKS = (3, 5, 8, 12)


def difference(value, seed_spread, num_seeds, seed_df, example_spread=0.0):
    """A difference whose seeds have this spread, each."""
    by_seeds, by_examples = seed_spread**2 / num_seeds, example_spread**2
    error = math.sqrt(by_seeds + by_examples)
    estimate = Estimate(value, value - 2 * error, value + 2 * error)
    return Difference(estimate, error, by_seeds, by_examples, seed_df, seed_df, num_seeds, 0.5)


def later(found, seed_df, last, generator):
    """Final means and spreads of a seed: the truth drawn from what is known, then its seeds."""
    spread = math.sqrt(found.seed_variance * found.num_seeds)
    # Of the spreads that are possible the largest are left out, as `chi_squares` says.
    squares_N = chi2.ppf(UNLIKELY + (1 - UNLIKELY) * generator.random(NUM_DRAWS), seed_df)
    spreads_N = spread * np.sqrt(seed_df / squares_N)
    truths_N = found.estimate.value + spreads_N / math.sqrt(
        found.num_seeds
    ) * generator.standard_normal(NUM_DRAWS)
    num_more = last - found.num_seeds
    more_N = truths_N + spreads_N / math.sqrt(num_more) * generator.standard_normal(NUM_DRAWS)
    return (found.num_seeds * found.estimate.value + num_more * more_N) / last, spreads_N


@pytest.mark.parametrize("value", [-0.02, 0.0, 0.02, 0.05])
@pytest.mark.parametrize("seed_df", [2, 4, 1000])
def test_a_significant_gain_is_as_likely_as_in_draws(value, seed_df):
    found, level = difference(value, 0.03, 3, seed_df), 0.0167
    means_N, spreads_N = later(found, seed_df, 12, np.random.default_rng(1))
    last_df = seed_df * 11 / 2
    critical = student.isf(level / 2, last_df)
    drawn = np.mean(means_N > critical * spreads_N / math.sqrt(12))
    assert chance_of_significance(found, 12, level) == pytest.approx(drawn, abs=0.01)


@pytest.mark.parametrize("num_errors", [-1.0, 1.0])
def test_a_lead_is_as_likely_as_in_draws(num_errors):
    found = difference(-0.02, 0.03, 5, 8, example_spread=0.01)
    means_N, spreads_N = later(found, 8, 12, np.random.default_rng(2))
    errors_N = np.sqrt(spreads_N**2 / 12 + 0.01**2)
    drawn = np.mean(means_N > num_errors * errors_N)
    assert chance_of_lead(found, 12, num_errors) == pytest.approx(drawn, abs=0.01)


def test_without_seeds_to_come_nothing_is_open():
    ahead, behind = difference(0.05, 0.01, 12, 22), difference(-0.05, 0.01, 12, 22)
    assert chance_of_significance(ahead, 12, 0.05) == pytest.approx(1)
    assert chance_of_significance(behind, 12, 0.05) == 0


def test_what_was_measured_once_is_open():
    unknown = Difference(Estimate(0.0, -1.0, 1.0), math.inf, math.inf, 0.0, 1.0, 1.0, 1, 1.0)
    assert chance_of_significance(unknown, 12, 0.05) == 1


def crossing(num_arms, alpha, looks=LOOKS):
    """Chance that any of so many arms crosses its boundary at any look, by normal integrals.

    The arms share p = 0, so that their differences correlate by one half (Dunnett 1955), and a
    look's evidence is part of the next one's.
    """
    bounds = np.array([norm.isf(level / 2) for level in nominal_levels(looks, alpha)])
    of_looks = np.array([[math.sqrt(min(a, b) / max(a, b)) for a in looks] for b in looks])
    of_arms = np.full((num_arms, num_arms), 0.5) + 0.5 * np.eye(num_arms)
    limits = np.tile(bounds, num_arms)
    inside = multivariate_normal(cov=np.kron(of_arms, of_looks), seed=3).cdf(
        limits, lower_limit=-limits
    )
    return 1 - float(inside)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 2, 0.05 / 3])
def test_one_arm_spends_its_share_of_alpha(alpha):
    assert crossing(1, alpha) == pytest.approx(alpha, abs=3e-4)


@pytest.mark.parametrize("num_arms", [2, 3])
def test_all_arms_together_spend_no_more_than_alpha(num_arms):
    assert 0.03 < crossing(num_arms, 0.05 / num_arms) <= 0.05
