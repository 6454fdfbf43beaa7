"""Scores of trials and what is known of their noise."""

from __future__ import annotations

import numpy as np
import pytest

from droplora_sweep.surrogate.noise import known_variances
from droplora_sweep.surrogate.observed import ObservedTrial, observations


def table(generator: np.random.Generator, num_trials: int, num_examples: int) -> np.ndarray:
    """Right or wrong; examples differ in how hard they are, trials by nothing."""
    hard_E = 1.8 * generator.standard_normal(num_examples)
    return (hard_E < generator.standard_normal((num_trials, num_examples))).astype(float)


def test_the_known_noise_is_what_other_examples_would_change() -> None:
    """Of differences: what makes an example hard for all trials cancels.

    The true variance of a difference of two trials' scores is seen over many tables.
    """
    generator = np.random.default_rng(0)
    tables = [table(generator, 12, 200) for _ in range(400)]
    seen = np.mean([np.var(one.mean(axis=1), ddof=1) for one in tables])
    known = [known_variances([{"b": row.tolist()} for row in one], ["b"]) for one in tables[:40]]
    assert np.mean(known) == pytest.approx(seen, rel=0.1)
    alone = np.mean([one.mean() * (1 - one.mean()) / 200 for one in tables])
    assert np.mean(known) < 0.6 * alone, "a binomial variance has the examples' own too"


def test_variances_of_benchmarks_add() -> None:
    one = table(np.random.default_rng(1), 8, 100)
    first = known_variances([{"a": row.tolist()} for row in one], ["a"])
    both = known_variances([{"a": row.tolist(), "b": row.tolist()} for row in one], ["a", "b"])
    assert both == pytest.approx(first / 2)


def test_a_missing_score_is_left_out_and_a_trial_without_any_has_the_others_mean() -> None:
    scores = table(np.random.default_rng(2), 6, 100).tolist()
    scores[0][3] = None
    found = known_variances([*({"b": row} for row in scores), None, {"other": [1.0]}], ["b"])
    assert np.isfinite(found).all()
    assert found[6] == found[7] == pytest.approx(found[:6].mean(), rel=0.02)
    assert known_variances([None, None], ["b"]) == pytest.approx([0, 0])
    assert known_variances([{"b": scores[1]}, {"b": scores[2]}], ["b"]) == pytest.approx([0, 0])


def trial(*scores: float, is_complete: bool = True) -> ObservedTrial:
    return ObservedTrial(drawn={}, scores=dict(enumerate(scores, start=1)), is_complete=is_complete)


def test_a_trial_that_was_stopped_gets_what_the_others_gained_since_then() -> None:
    complete = [trial(0.4, 0.5), trial(0.4, 0.6), trial(0.5, 0.8)]
    stopped = trial(0.3, is_complete=False)
    found = observations([*complete, stopped, ObservedTrial(drawn={})], [])
    assert found.scores == pytest.approx([0.5, 0.6, 0.8, 0.3 + 0.2])
    assert found.variances == pytest.approx([0, 0, 0, 0.01 * (1 + 1 / 3)])


def test_it_is_left_out_where_too_few_say_what_it_lacks() -> None:
    found = observations([trial(0.4, 0.5), trial(0.4, 0.6), trial(0.3, is_complete=False)], [])
    assert found.scores == pytest.approx([0.5, 0.6])
