"""Two sweeps on the same examples."""

import numpy as np
import pytest

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.analysis.pairing import (
    disagreement,
    p_value,
    paired_runs,
    paired_trials,
    unpaired,
)


def scores(*values, start=0):
    return {f"e{start + index}": value for index, value in enumerate(values)}


def test_two_trials_are_paired_example_by_example():
    first = {"arc": scores(1.0, 1.0, 0.0, 1.0, None), "gsm": scores(0.5, 1.0)}
    second = {"arc": scores(0.0, 1.0, 0.0, 1.0, 1.0), "gsm": scores(0.5, 0.0)}
    found = paired_trials(first, second, ["arc", "gsm"])
    assert found.difference.value == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert (found.num_examples, found.num_seeds) == (6, 1)
    alone = paired_trials(first, second, ["arc"])
    assert alone.p_value == p_value([disagreement(first["arc"], second["arc"])])


@pytest.mark.parametrize(
    "second", [{}, {"arc": scores(1.0)}, {"arc": scores(1.0, 0.0, start=1)}, {"gsm": scores(1.0)}]
)
def test_trials_of_other_examples_are_not_paired(second):
    assert paired_trials({"arc": scores(1.0, 0.0)}, second, ["arc"]) is None


def runs(true_score, seeds, generator, num_examples=400):
    return {
        seed: {"arc": scores(*map(float, generator.random(num_examples) < true_score))}
        for seed in seeds
    }


def test_arms_are_paired_over_the_seeds_that_both_have():
    generator = np.random.default_rng(0)
    first = runs(0.7, (1, 2, 3, 4), generator)
    second = runs(0.5, (2, 3, 4, 5), generator)
    found = paired_runs(first, second, ["arc"])
    assert (found.num_seeds, found.num_examples) == (3, 400)
    assert found.difference.low < 0.2 < found.difference.high
    assert found.difference.low > 0
    assert found.p_value < 0.05


def test_intervals_of_arms_cover_the_true_difference():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        first, second = (runs(share, (1, 2, 3, 4), generator, 100) for share in (0.6, 0.5))
        estimate = paired_runs(first, second, ["arc"]).difference
        covered += estimate.low <= 0.1 <= estimate.high
    assert covered / 200 >= 0.92


def test_arms_without_three_common_seeds_or_the_same_examples_are_not_paired():
    generator = np.random.default_rng(0)
    first = runs(0.7, (1, 2, 3), generator)
    assert paired_runs(first, runs(0.5, (2, 3, 4), generator), ["arc"]) is None
    assert paired_runs(first, runs(0.5, (1, 2, 3), generator, 399), ["arc"]) is None
    assert paired_runs(first, runs(0.5, (1, 2, 3), generator), ["arc", "gsm"]) is None
    assert paired_runs({}, {}, ["arc"]) is None


def test_scores_of_other_examples_are_subtracted_as_independent():
    found = unpaired(Estimate(0.6, 0.5, 0.7), Estimate(0.4, 0.3, 0.5))
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.high - 0.2 == pytest.approx(0.1 * 2**0.5)
    assert (found.p_value, found.num_examples) == (None, 0)
    far = unpaired(Estimate(1.0, 0.2, 1.0), Estimate(0.0, 0.0, 0.9)).difference
    assert far.low >= -1
    assert far.high <= 1
