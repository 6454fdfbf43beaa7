"""The model of two views: its slopes, and that it counts the second in so far as both agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from scipy.optimize import check_grad

from droplora_sweep.surrogate.coordinates import coordinates_of
from droplora_sweep.surrogate.observed import observations
from droplora_sweep.surrogate.process import fit
from tests.search.search_worlds import WORLDS, search
from tests.search.two_views import TwoViews, second_view

WORLD = WORLDS["100 examples"]
COORDINATES = coordinates_of(WORLD.sweep("random", 0).search.parameters)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def seen_of(trials: list[Any]) -> Any:
    return observations([one.observed for one in trials], ["b"])


def fitted(trials: list[Any], correlation: float, seed: int) -> TwoViews:
    second = second_view(WORLD, trials, correlation, np.random.default_rng([seed, 7]))
    return TwoViews(COORDINATES, seen_of(trials), second)


def test_its_slopes_are_those_of_its_loss() -> None:
    model = fitted(search(WORLD, "random", 0), 0.6, 0)
    at = model.modes + 0.3 * np.random.default_rng(0).standard_normal(len(model.modes))
    away = check_grad(lambda x: model.loss(x)[0], lambda x: model.loss(x)[1], at, epsilon=1e-6)
    assert away < 1e-3


def test_the_second_view_counts_by_its_correlation_even_where_it_contradicts() -> None:
    nearness: dict[float | None, list[float]] = {}
    correlations: dict[float, list[float]] = {}
    for seed in range(12):
        trials = search(WORLD, "random", seed)
        settings = [one.drawn for one in trials]
        truth = [WORLD.truth(one) for one in settings]
        models: dict[float | None, Any] = {None: fit(COORDINATES, seen_of(trials))}
        for rho in (0.9, 0.0, -0.9):
            models[rho] = model = fitted(trials, rho, seed)
            correlations.setdefault(rho, []).append(model.fit.correlation)
        for key, one in models.items():
            found = np.corrcoef(one(settings)[0], truth)[0, 1]
            nearness.setdefault(key, []).append(float(found))
    of = {key: np.mean(found) for key, found in nearness.items()}
    assert of[0.9] > of[None] + 0.02
    assert of[-0.9] > of[None]
    assert of[0.0] > of[None] - 0.02
    assert np.mean(correlations[0.9]) > 0.2
    assert abs(np.mean(correlations[0.0])) < 0.15
    assert np.mean(correlations[-0.9]) < -0.2
