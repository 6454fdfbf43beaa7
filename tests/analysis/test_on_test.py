"""Test scores are put beside the decisions, which they do not change."""

import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import Comparison
from droplora_sweep.analysis.on_test import winner_on_test_text, winners_on_test
from droplora_sweep.analysis.progress import Budget, progress_of
from tests.analysis.synthetic import World, arms_of

ARMS = arms_of([0.0, 0.2])
SEEDS = (43, 44, 45)


def runs(truths, seed, names=("choice",)):
    found = {}
    for name in names:
        scores_ASE = World().scores(truths, 3, 200, np.random.default_rng(seed))
        for row, arm in enumerate(ARMS):
            for column, each in enumerate(SEEDS):
                of_run = dict(enumerate(map(float, scores_ASE[row, column])))
                found.setdefault((arm.name, each), {})[name] = of_run
    return found


@pytest.fixture
def comparisons():
    return [Comparison("choice", ARMS, 5)]


@pytest.fixture
def decisions(comparisons):
    return progress_of(comparisons, Budget(SEEDS, (3,)), runs([0.4, 0.7], 0)).decisions


def test_the_winner_stands_beside_p_0_with_an_interval(comparisons, decisions):
    [found] = winners_on_test(comparisons, decisions, runs([0.4, 0.7], 1))
    assert found.arm == ARMS[1]
    assert found.score > found.baseline_score
    assert found.difference.low < found.score - found.baseline_score < found.difference.high
    assert (found.num_seeds, found.num_examples) == (3, 200)
    text = winner_on_test_text(found)
    assert text.startswith("choice on test: p = 0.2 scores ")
    assert text.endswith("(3 seeds, 200 examples; scored once)")


def test_a_winner_that_loses_on_test_stays_the_winner(comparisons, decisions):
    [found] = winners_on_test(comparisons, decisions, runs([0.8, 0.3], 1))
    assert found.arm == ARMS[1]
    assert found.difference.high < 0


def test_before_both_are_tested_there_is_nothing_to_show(comparisons, decisions):
    half = {key: scores for key, scores in runs([0.4, 0.7], 1).items() if key[0] == "t0001"}
    assert winners_on_test(comparisons, decisions, half) == ()
    assert winners_on_test(comparisons, decisions, {}) == ()


def test_where_p_0_wins_there_is_no_difference(comparisons):
    decisions = progress_of(comparisons, Budget(SEEDS, (3,)), runs([0.7, 0.3], 0)).decisions
    [found] = winners_on_test(comparisons, decisions, runs([0.7, 0.3], 1))
    assert (found.arm, found.difference) == (ARMS[0], None)
    assert "p = 0 scores" in winner_on_test_text(found)
