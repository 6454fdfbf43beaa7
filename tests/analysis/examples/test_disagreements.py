"""Disagreements of two settings: their order, their totals, and how sure each is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from droplora_sweep.analysis.evidence import Arm, Run, tabulate
from droplora_sweep.analysis.examples.disagreements import (
    RightCount,
    disagreements,
    probability_higher,
)
from droplora_sweep.analysis.variance_components import components


def answered(shares: list[float], seeds: range, generator: Any) -> dict[int, dict[str, float]]:
    """Right or wrong by seed and example, at each example's own chance."""
    return {
        seed: {f"e{index}": float(generator.random() < share) for index, share in enumerate(shares)}
        for seed in seeds
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [((5, 5), (1, 5)), ((1, 1), (0, 1)), ((2.5, 4), (1, 3)), ((60, 99), (40, 99))],
)
def test_the_probability_is_the_integral_that_scipy_finds(
    first: tuple[float, int], second: tuple[float, int]
) -> None:
    posteriors = [
        stats.beta(0.5 + right, 0.5 + number - right) for right, number in (first, second)
    ]
    expected, _ = integrate.quad(
        lambda x: posteriors[1].pdf(x) * posteriors[0].sf(x), 0, 1, limit=500, epsabs=1e-10
    )
    sides = RightCount(*first), RightCount(*second)
    assert probability_higher(*sides) == pytest.approx(expected, abs=1e-6)
    assert probability_higher(*sides) + probability_higher(*sides[::-1]) == pytest.approx(1)


def test_what_is_the_same_is_even() -> None:
    for right in (0, 2, 5):
        assert probability_higher(RightCount(right, 5), RightCount(right, 5)) == pytest.approx(0.5)


def test_a_certainty_is_the_share_of_examples_on_which_it_is_right() -> None:
    generator = np.random.default_rng(0)
    truth_SE = generator.beta(0.5, 0.5, size=(2, 40_000))
    right_SE = generator.binomial(5, truth_SE)
    certainty: dict[tuple[int, int], float] = {
        (one, other): probability_higher(RightCount(one, 5), RightCount(other, 5))
        for one in range(6)
        for other in range(6)
    }
    claimed_E = np.array([certainty[one, other] for one, other in right_SE.T.tolist()])
    is_higher_E = truth_SE[0] > truth_SE[1]
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 0.99), (0.99, 1.0)):
        chosen_E = (claimed_E > low) & (claimed_E <= high)
        assert chosen_E.sum() > 500
        noise = 4 * 0.5 / chosen_E.sum() ** 0.5
        assert is_higher_E[chosen_E].mean() == pytest.approx(claimed_E[chosen_E].mean(), abs=noise)


def test_the_surest_come_first_and_equal_shares_are_left_out() -> None:
    seeds = range(5)
    rights = {"close": (3, 2), "same": (4, 4), "clear": (5, 0), "likely": (5, 1), "against": (0, 4)}
    sides = [
        {
            seed: {name: float(seed < counts[index]) for name, counts in rights.items()}
            for seed in seeds
        }
        for index in (0, 1)
    ]
    found = disagreements(*sides)
    assert found is not None
    assert [one.example_id for one in found.examples] == ["clear", "against", "likely", "close"]
    assert (found.examples[1].first.right, found.examples[1].second.right) == (0, 4)
    certainties = [round(one.certainty, 9) for one in found.examples]
    assert certainties == sorted(certainties, reverse=True)
    assert all(0.5 < each < 1 for each in certainties)
    totals = found.totals
    assert (totals.num_examples, totals.num_pairs, totals.num_answers) == (5, 5, 25)
    assert totals.both + totals.neither == totals.num_same
    assert not totals.is_graded


def test_the_totals_are_the_difference_that_confirmed_arms_have() -> None:
    generator = np.random.default_rng(1)
    shares = generator.random((3, 60)).tolist()
    runs = [answered(own, range(40, 46), generator) for own in shares]
    del runs[0][44], runs[1][41]
    arms = [Arm(f"arm{index}", index / 10) for index in range(3)]
    table = tabulate(
        Run(arm, seed, {"arc": scores})
        for arm, own in zip(arms, runs, strict=True)
        for seed, scores in own.items()
    )
    expected = components([table.scores["arc"]]).difference(1, 0).estimate.value
    found = disagreements(runs[1], runs[0])
    assert found is not None
    totals = found.totals
    assert totals.num_pairs == 4
    assert totals.difference == pytest.approx(expected, abs=1e-12)
    gap = (totals.only_first - totals.only_second) / totals.num_answers
    assert gap == pytest.approx(expected, abs=1e-12)
    assert totals.num_answers == totals.num_pairs * totals.num_examples


def test_missing_and_graded_scores_and_seeds_that_are_not_shared() -> None:
    first: dict[int, dict[str, float | None]] = {1: {"a": 1.0, "b": None, "c": 0.4}}
    second: dict[int, dict[str, float | None]] = {
        2: {"a": 0.0, "b": 1.0, "c": 0.4},
        3: {"a": 1.0, "b": 1.0, "c": 0.8, "d": 0.0},
    }
    found = disagreements(first, second)
    assert found is not None
    totals = found.totals
    assert totals.is_graded
    assert (totals.num_examples, totals.num_pairs, totals.num_answers) == (2, 2, 4)
    assert (totals.only_first, totals.only_second, totals.num_same) == (1, 1, 2)
    assert totals.difference == pytest.approx(0.15)
    assert {one.example_id for one in found.examples} == {"a", "c"}
    assert disagreements({1: {"a": 1.0}}, {1: {"b": 1.0}}) is None
    assert disagreements({}, {1: {"b": 1.0}}) is None
