import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from droplora_sweep.analysis.variance_components import components
from tests.analysis.synthetic import World

WORLDS = {
    "as usual": World(),
    "seeds vary much": World(seed=0.2, arm_seed=0.2),
    "seeds do nothing": World(seed=0, arm_seed=0),
    "arms differ by example": World(seed=0, arm_seed=0, arm_example=1.0),
    "arms are alike": World(seed=0, arm_seed=0, arm_example=0),
}


def coverage(world, num_seeds, truths, num_repetitions, num_benchmarks=1, share_missing=0.0):
    """Coverage of the intervals of differences to the first arm, and of means."""
    generator = np.random.default_rng(6)
    truths = np.array(truths)
    differences, means = [], []
    for _ in range(num_repetitions):
        parts = [world.scores(truths, num_seeds, 200, generator) for _ in range(num_benchmarks)]
        for part in parts:
            part[generator.random(part.shape) < share_missing] = np.nan
        found = components(parts)
        for arm, truth in enumerate(truths):
            mean = found.mean(arm)
            means.append(mean.low <= truth <= mean.high)
            if arm:
                estimate = found.difference(arm, 0).estimate
                differences.append(estimate.low <= truth - truths[0] <= estimate.high)
    return np.mean(differences), np.mean(means)


def plain_bootstrap_coverage(world, num_seeds, num_repetitions):
    """The same for seeds and examples resampled with replacement, and percentiles."""
    generator = np.random.default_rng(6)
    covered = []
    for _ in range(num_repetitions):
        first, second = world.scores([0.6, 0.6], num_seeds, 200, generator)
        difference_SE = first - second
        seeds = generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), 1000)
        examples = generator.multinomial(200, np.full(200, 1 / 200), 1000)
        drawn = np.einsum("ds,se,de->d", seeds, difference_SE, examples, optimize=True)
        low, high = np.quantile(drawn / num_seeds / 200, [0.025, 0.975])
        covered.append(low <= 0 <= high)
    return np.mean(covered)


def test_intervals_cover_the_truth_in_95_percent_of_sweeps():
    difference, mean = coverage(World(), 3, [0.6, 0.6, 0.62, 0.65], 150)
    assert difference >= 0.93
    assert mean >= 0.93


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("num_seeds_and_arms", [(2, 3), (2, 4), (3, 2), (3, 4), (5, 4)], ids=str)
@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_coverage_is_at_least_93_percent_with_few_seeds(world, num_seeds_and_arms):
    num_seeds, num_arms = num_seeds_and_arms
    num_repetitions = 600
    difference, mean = coverage(WORLDS[world], num_seeds, [0.6] * num_arms, num_repetitions)
    # 0.9 points are one standard error of a share of 95 % among 600 repetitions.
    assert difference >= 0.93 - 0.009
    assert mean >= 0.93 - 0.009


@pytest.mark.slow
def test_coverage_holds_for_a_mean_of_benchmarks_and_with_missing_scores():
    several, _ = coverage(World(), 3, [0.6, 0.6, 0.6], 500, num_benchmarks=3)
    holed, _ = coverage(World(), 3, [0.6, 0.6, 0.6], 500, share_missing=0.1)
    assert several >= 0.92
    assert holed >= 0.92


@pytest.mark.slow
def test_a_plain_bootstrap_of_few_seeds_would_cover_less():
    world = World(seed=0.5, arm_seed=0.5)
    plain = plain_bootstrap_coverage(world, 3, 200)
    ours, _ = coverage(world, 3, [0.6, 0.6], 200)
    assert plain < 0.87
    assert ours > 0.91


def test_a_balanced_difference_is_the_mean_of_paired_differences():
    scores_ASE = World().scores([0.5, 0.6, 0.7], 4, 100, np.random.default_rng(1))
    found = components([scores_ASE])
    for arm in (1, 2):
        paired = (scores_ASE[arm] - scores_ASE[0]).mean()
        assert found.difference(arm, 0).estimate.value == pytest.approx(paired)
        assert found.means[arm] == pytest.approx(scores_ASE[arm].mean())


MANY = 20_000
"""Examples enough for what examples add to be nothing beside seeds."""


def test_two_arms_that_seeds_move_alike_have_a_paired_t_interval():
    means_AS = np.array([[0.50, 0.56, 0.72, 0.42], [0.60, 0.63, 0.84, 0.50]])
    scores_ASE = np.repeat(means_AS[:, :, None], MANY, axis=2)
    difference = components([scores_ASE]).difference(1, 0)
    test = ttest_rel(*means_AS[::-1])
    interval = test.confidence_interval()
    assert difference.degrees_of_freedom == pytest.approx(3, rel=0.01)
    assert difference.estimate.low == pytest.approx(interval.low, rel=0.01)
    assert difference.estimate.high == pytest.approx(interval.high, rel=0.01)
    assert difference.p_value == pytest.approx(test.pvalue, rel=0.01)


@pytest.mark.parametrize("seeds_of_p_0", [[0.50, 0.56, 0.62, 0.52], [0.535, 0.54, 0.545, 0.54]])
def test_two_arms_that_seeds_move_each_its_own_way_have_welch_s_interval(seeds_of_p_0):
    means_AS = np.array([seeds_of_p_0, [0.70, 0.58, 0.60, 0.65]])
    scores_ASE = np.repeat(means_AS[:, :, None], MANY, axis=2)
    difference = components([scores_ASE]).difference(1, 0)
    test = ttest_ind(*means_AS[::-1], equal_var=False)
    interval = test.confidence_interval()
    assert difference.degrees_of_freedom == pytest.approx(test.df, rel=0.01)
    assert difference.estimate.low == pytest.approx(interval.low, rel=0.01)
    assert difference.estimate.high == pytest.approx(interval.high, rel=0.01)
    assert difference.p_value == pytest.approx(test.pvalue, rel=0.01)


def test_seeds_of_other_arms_do_not_change_a_pair():
    """An arm that varies much over seeds makes no pair wider but its own."""
    generator = np.random.default_rng(2)
    scores_ASE = World().scores([0.6, 0.6, 0.6], 3, 200, generator)
    alone = components([scores_ASE[:2]])
    scores_ASE[2] = generator.random((3, 200)) < np.array([0.2, 0.6, 0.9])[:, None]
    beside = components([scores_ASE])
    assert not alone.seeds_are_shared
    assert not beside.seeds_are_shared
    assert beside.difference(1, 0).p_value == pytest.approx(alone.difference(1, 0).p_value)
    assert beside.difference(2, 0).standard_error > 3 * alone.difference(1, 0).standard_error


def test_what_only_examples_change_is_not_shrunk_by_seeds():
    right_AE = np.random.default_rng(3).random((2, 1, 400)) < np.array([0.5, 0.6])[:, None, None]
    scores_ASE = np.repeat(right_AE.astype(float), 5, axis=1)
    difference = components([scores_ASE]).difference(1, 0)
    of_pair = scores_ASE[1, 0] - scores_ASE[0, 0]
    by_hand = np.var(of_pair, ddof=1) / 400 + 2 / 402**2
    assert difference.example_variance == pytest.approx(by_hand)
    assert difference.seed_variance == pytest.approx(0, abs=1e-15)


def test_a_failed_run_is_made_up_for_by_what_its_seed_does_to_the_others():
    """The missing run's seed is a good one; the arm that lacks it is not blamed for that."""
    scores_ASE = np.zeros((3, 4, 10))
    scores_ASE += np.array([0.1, 0.2, 0.3])[:, None, None] + np.array([0, 0, 0.05, 0.4])[:, None]
    scores_ASE[2, 3] = np.nan
    found = components([scores_ASE])
    assert found.difference(2, 0).estimate.value == pytest.approx(0.2)
    assert list(found.num_seeds) == [4, 4, 3]


def test_arms_without_any_disagreement_may_still_differ():
    scores_ASE = np.tile(np.arange(60) < 30, (2, 3, 1)).astype(float)
    difference = components([scores_ASE]).difference(1, 0)
    assert (difference.estimate.value, difference.p_value) == (0, 1)
    assert difference.estimate.high == -difference.estimate.low == pytest.approx(0.0596, abs=5e-4)
