"""Collapsed trials: which ones they are, and what the model says of the settings around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from droplora_sweep.spec import SweepSpec
from droplora_sweep.surrogate.collapses import have_collapsed
from droplora_sweep.surrogate.coordinates import Coordinate, coordinates_of
from droplora_sweep.surrogate.process import Observations, Posterior, fit

RATE, LR = "adapter.pruning_rate", "training.learning_rate"
SPACE = {RATE: {"min": 0.0, "max": 0.8, "step": 0.2}, LR: {"min": 0.0, "max": 1.0}}
NOISE = 0.004


def coordinates() -> tuple[Coordinate, ...]:
    sweep = SweepSpec.model_validate({"name": "s", "search": {"parameters": SPACE}})
    return coordinates_of(sweep.search.parameters)


def drawn(generator: Any, num: int) -> list[dict[str, float]]:
    return [
        {RATE: 0.2 * int(generator.integers(5)), LR: float(generator.random())} for _ in range(num)
    ]


def smooth(one: dict[str, float]) -> float:
    return 0.6 + 0.03 * one[LR] - 0.1 * (one[RATE] - 0.4) ** 2


def is_beyond(one: dict[str, float]) -> bool:
    """The best learning rates are just before this edge."""
    return one[RATE] + one[LR] > 1.1


def fitted(settings: list[dict[str, float]], scores: Any) -> Posterior:
    found = fit(coordinates(), Observations(settings, scores, np.full(len(scores), NOISE**2)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("scores", "num_lost"),
    [
        ([0.6, 0.61, 0.62, 0.63, 0.3, 0.1], 2),
        ([0.6, 0.61, 0.62, 0.63, 0.58, 0.57], 0),
        ([0.6, 0.62, 0.64, 0.2, 0.1, 0.3, 0.25, 0.22], 0),
        ([0.5] * 6, 0),
    ],
    ids=["far below", "near", "most of all", "equal"],
)
def test_a_collapse_is_far_below_the_others_and_most_trials_are_none(
    scores: list[float], num_lost: int
) -> None:
    unit = max(float(np.quantile(scores, 0.9) - np.median(scores)), 0.002)
    are_lost = have_collapsed(np.array(scores), unit)
    assert are_lost.sum() == num_lost
    assert num_lost == 0 or np.array(scores)[are_lost].max() < 0.5


def test_the_best_settings_just_before_an_edge_are_seen_to_be_the_best() -> None:
    lost, edge = [], []
    for seed in range(4):
        generator = np.random.default_rng(seed)
        settings, others = drawn(generator, 30), drawn(generator, 200)
        scores = np.array([smooth(one) for one in settings])
        scores += NOISE * generator.standard_normal(30)
        scores[[is_beyond(one) for one in settings]] = 0.3
        posterior = fitted(settings, scores)
        means, _ = posterior(settings)
        safe = [index for index, one in enumerate(settings) if not is_beyond(one)]
        top = max(safe, key=lambda index, means=means: means[index])  # type: ignore[misc]
        lost.append(max(smooth(settings[one]) for one in safe) - smooth(settings[top]))
        # Of all settings that collapse the same is expected.
        expected = posterior(others)[0] <= means.min() + 1e-9
        edge.append(np.mean(expected == [is_beyond(one) for one in others]))
        assert (means[[is_beyond(one) for one in settings]] < means[safe].min()).all()
    assert np.mean(lost) < NOISE
    assert np.mean(edge) > 0.9


def test_a_collapse_by_chance_says_nothing_of_its_neighbours() -> None:
    generator = np.random.default_rng(1)
    settings = drawn(generator, 24)
    scores = np.array([smooth(one) for one in settings])
    best = int(scores.argmax())
    scores += NOISE * generator.standard_normal(24)
    near = [{**settings[best], LR: settings[best][LR] - 0.05}]
    as_it_was = fitted(settings, scores)(near)[0]
    scores[best] = 0.2
    posterior = fitted(settings, scores)
    assert posterior(near)[0] == pytest.approx(as_it_was, abs=3 * NOISE)
    assert posterior([settings[best]])[0] < scores[scores > 0.5].min(), "it was seen to collapse"
