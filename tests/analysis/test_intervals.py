import math
from functools import cache

import numpy as np
import pytest

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.analysis.intervals import mean, paired_difference, proportion


@pytest.mark.parametrize(
    ("num_correct", "num_examples", "low", "high"),
    # Newcombe, Stat. Med. 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_proportion_has_wilson_s_published_intervals(num_correct, num_examples, low, high):
    estimate = proportion(num_correct, num_examples)
    assert estimate.value == num_correct / num_examples
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


def test_paired_difference_is_antisymmetric():
    ahead, behind = paired_difference(9, 4, 200), paired_difference(4, 9, 200)
    assert ahead.value == pytest.approx(0.025)
    assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low))


def test_paired_difference_without_disagreement_is_still_uncertain():
    estimate = paired_difference(0, 0, 100)
    assert estimate.value == 0
    assert estimate.low < -0.01
    assert estimate.high > 0.01


@pytest.mark.parametrize(("gain_rate", "loss_rate"), [(0.05, 0.05), (0.12, 0.06), (0.02, 0.01)])
def test_paired_difference_covers_the_truth_in_95_percent_of_samples(gain_rate, loss_rate):
    num_examples, num_samples = 200, 4000
    rates = [gain_rate, loss_rate, 1 - gain_rate - loss_rate]
    samples = np.random.default_rng(1).multinomial(num_examples, rates, num_samples)
    estimates = [paired_difference(gained, lost, num_examples) for gained, lost, _ in samples]
    covered = np.mean([one.low <= gain_rate - loss_rate <= one.high for one in estimates])
    assert 0.935 <= covered <= 0.985


def test_mean_of_one_is_itself():
    assert mean([Estimate(0.5, 0.4, 0.7)]) == Estimate(0.5, pytest.approx(0.4), pytest.approx(0.7))


def test_mean_of_four_alike_has_half_the_width():
    estimate = mean([Estimate(0.5, 0.4, 0.7)] * 4)
    assert estimate.value == 0.5
    assert (estimate.low, estimate.high) == pytest.approx((0.45, 0.6))


def test_mean_of_proportions_covers_the_truth_in_95_percent_of_samples():
    generator = np.random.default_rng(2)
    shares, sizes = (0.5, 0.9, 0.98), (200, 100, 60)
    truth = math.fsum(shares) / 3
    cached_proportion = cache(proportion)
    covered = []
    for _ in range(1500):
        counts = [
            generator.binomial(size, share) for share, size in zip(shares, sizes, strict=True)
        ]
        estimate = mean([cached_proportion(*pair) for pair in zip(counts, sizes, strict=True)])
        covered.append(estimate.low <= truth <= estimate.high)
    assert 0.93 <= np.mean(covered) <= 0.985
