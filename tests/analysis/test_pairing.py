from itertools import product
from math import comb

import pytest
from scipy.stats import ttest_1samp

from droplora_sweep.analysis.pairing import (
    Disagreement,
    GradedDifference,
    disagreement,
    mean_difference,
    p_value,
)


def test_disagreement_counts_examples_by_id_whatever_their_order():
    first = {"a": True, "b": True, "c": False, "d": True}
    second = {"d": True, "c": True, "b": False, "a": False}
    assert disagreement(first, second) == Disagreement(num_gained=2, num_lost=1, num_examples=4)


@pytest.mark.parametrize("second", [{"a": True}, {"a": True, "c": True}, {}])
def test_trials_scored_on_other_examples_are_not_paired(second):
    assert disagreement({"a": True, "b": False}, second) is None


def test_p_value_of_one_benchmark_is_mcnemar_s_exact_test():
    by_hand = 2 * sum(comb(12, k) for k in (0, 1, 2)) / 2**12
    assert p_value([Disagreement(10, 2, 300)]) == pytest.approx(by_hand)


def test_p_value_without_disagreement_is_one():
    assert p_value([Disagreement(0, 0, 50)]) == 1
    assert p_value([Disagreement(0, 0, 50), Disagreement(0, 0, 20)]) == 1


def test_p_value_of_equal_benchmarks_is_that_of_their_union():
    parts = [Disagreement(6, 1, 100), Disagreement(5, 3, 100)]
    union = p_value([Disagreement(11, 4, 200)])
    assert p_value(parts) == pytest.approx(union, abs=0.005)


def test_p_value_weighs_a_benchmark_by_its_examples():
    """Ten gains of 1,000 are little against two losses of 20 in an unweighted mean."""
    parts = [Disagreement(10, 0, 1000), Disagreement(0, 2, 20)]
    assert mean_difference(parts).value == pytest.approx((0.01 - 0.1) / 2)
    assert p_value(parts) > 0.3


def test_p_value_is_the_same_every_time():
    parts = [Disagreement(9, 3, 100), Disagreement(4, 6, 80)]
    assert p_value(parts) == p_value(parts)


def test_p_value_of_a_mean_is_that_of_every_way_to_flip_the_disagreements():
    parts = [Disagreement(5, 0, 100), Disagreement(1, 2, 30), Disagreement(4, 1, 60)]
    weights = [
        1 / part.num_examples for part in parts for _ in range(part.num_gained + part.num_lost)
    ]
    observed = 5 / 100 - 1 / 30 + 3 / 60
    flips = [
        abs(sum(sign * weight for sign, weight in zip(signs, weights, strict=True)))
        for signs in product((1, -1), repeat=len(weights))
    ]
    exact = sum(value >= observed - 1e-12 for value in flips) / len(flips)
    assert 0.05 < exact < 0.6
    assert p_value(parts) == pytest.approx(exact, abs=0.007)


def test_graded_scores_are_compared_by_their_sizes():
    first = {"a": 0.9, "b": 0.5, "c": 0.7, "d": 1.0}
    second = {"a": 0.7, "b": 0.5, "c": 0.8, "d": 0.4}
    part = disagreement(first, second)
    assert part == GradedDifference(pytest.approx((0.2, 0.0, -0.1, 0.6)))
    values = [0.2, 0.0, -0.1, 0.6]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = part.difference
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.175, *expected))


def test_p_value_of_graded_scores_is_that_of_every_way_to_flip_the_differences():
    values = (0.3, 0.1, 0.1, -0.1, 0.5, 0.2, 0.0)
    flips = [
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    exact = sum(value >= sum(values) - 1e-12 for value in flips) / len(flips)
    assert p_value([GradedDifference(values)]) == pytest.approx(exact, abs=0.007)
    alone = p_value([Disagreement(5, 0, 100)])
    assert alone < p_value([Disagreement(5, 0, 100), GradedDifference((0.0, -0.05))]) < 1


def test_an_example_without_a_score_in_one_trial_is_left_out():
    first = {"a": 1.0, "b": None, "c": 0.0, "d": 1.0}
    second = {"a": 0.0, "b": 1.0, "c": None, "d": 1.0}
    assert disagreement(first, second) == Disagreement(num_gained=1, num_lost=0, num_examples=2)
    assert disagreement({"a": None}, {"a": 1.0}) is None
