"""Search and confirm, against taking the pruning rate of the best search-stage score.

A synthetic search draws settings: a pruning rate of five, and the other parameters, which move the
true score by some points. Both procedures choose a rate; the choice is correct if the rate's true
mean is within half a point of the best. (Where no rate matters, every choice is; that none is then
claimed to be better is tested with the decisions themselves.)
"""

import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import Comparison
from droplora_sweep.analysis.evidence import ScoreTable
from droplora_sweep.analysis.progress import Action, Budget, next_step
from tests.analysis.synthetic import World, arms_of

RATES = np.array([0.0, 0.1, 0.2, 0.3, 0.5])
GAINS = {
    "0.2 gains 3 points": np.array([0.0, 0.01, 0.03, 0.01, -0.03]),
    "0.3 gains 4 points": np.array([0.0, 0.01, 0.02, 0.04, 0.0]),
    "all rates lose": np.array([0.0, -0.02, -0.03, -0.04, -0.06]),
}
OTHERS = 0.01
"""Spread of the true score over the other parameters."""
NUM_EXAMPLES = 400
NUM_SEARCH = 15
SEEDS = tuple(range(16))
BUDGET = Budget(seeds=SEEDS, looks=(3, 4, 6, 8, 12, 16), margin=0.02)


def is_correct(chosen, gains):
    return gains[chosen] >= gains.max() - 0.005


def search(gains, num_trials, generator):
    """True means and search-stage scores of settings; each rate in turn, the others at random."""
    rates = np.arange(num_trials) % len(RATES)
    truths = 0.6 + gains[rates] - np.abs(OTHERS * generator.standard_normal(num_trials))
    scores = World().scores(truths, 1, NUM_EXAMPLES, generator).mean(axis=(1, 2))
    return rates, truths, scores


def by_best_score(gains, num_trials, generator):
    rates, _, scores = search(gains, num_trials, generator)
    return is_correct(rates[np.argmax(scores)], gains)


def by_confirmation(gains, generator):
    """Return whether the choice is correct, and the trials it took, the search included."""
    rates, truths, scores = search(gains, NUM_SEARCH, generator)
    ranked = np.argsort(-scores)
    best = [next(one for one in ranked if rates[one] == rate) for rate in range(len(RATES))]
    pruned = sorted(best[1:], key=lambda one: -scores[one])[:3]
    chosen = sorted([best[0], *pruned], key=lambda one: rates[one])
    arms = arms_of(RATES[rates[chosen]])
    comparison = Comparison("choice", arms, NUM_SEARCH)
    scores_ASE = World().scores(truths[chosen], len(SEEDS), NUM_EXAMPLES, generator)
    step, num_trials, num_seeds = next_step(None, [comparison], BUDGET), NUM_SEARCH, 0
    while step.action is Action.ADD_SEEDS:
        num_trials += len(step.seeds) * len(step.arms)
        num_seeds += len(step.seeds)
        table = ScoreTable(arms, SEEDS[:num_seeds], {"choice": scores_ASE[:, :num_seeds]})
        step = next_step(table, [comparison], BUDGET)
    recommended = step.decisions[0].recommended.pruning_rate
    return is_correct(int(np.flatnonzero(recommended == RATES)[0]), gains), num_trials


def trials_by_best_score(gains, share, generator, num_repetitions, most=320):
    """The fewest trials after which the best score's rate is correct in ``share`` of sweeps.

    Where that is not reached with ``most``, that is given: ratios are then lower bounds.
    """
    num_trials = 5
    while num_trials < most:
        found = [by_best_score(gains, num_trials, generator) for _ in range(num_repetitions)]
        if np.mean(found) >= share:
            return num_trials
        num_trials *= 2
    return most


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_confirmation_is_correct_after_fewer_trials_than_the_best_score_needs():
    generator = np.random.default_rng(11)
    ratios = {}
    for name, gains in GAINS.items():
        runs = [by_confirmation(gains, generator) for _ in range(40)]
        share = np.mean([correct for correct, _ in runs])
        spent = np.array([num_trials for _, num_trials in runs])
        ratios[name] = trials_by_best_score(gains, share, generator, 40) / spent
        low, middle, high = np.quantile(ratios[name], [0.1, 0.5, 0.9])
        print(  # noqa: T201
            f"{name}: correct {share:.0%} after {spent.mean():.0f} trials; "
            f"ratio {middle:.1f} [{low:.1f}, {high:.1f}]"
        )
    assert np.median(np.concatenate(list(ratios.values()))) > 1
