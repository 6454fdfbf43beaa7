"""Searches in simulated worlds: how often the best rate is found, and by which rule."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from tests.search.search_worlds import WORLDS, Result, assess

OBSERVED, MODEL = ("tpe", "best trial"), ("decide", "posterior")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_the_model_finds_better_settings_than_the_best_trial() -> None:
    """Six searches of one world; the guide's table has more of each."""
    found = assess("best rate inside", range(6), ("tpe", "decide"))
    assert found[MODEL].top3 >= 5 / 6
    assert found[MODEL].regret < found[OBSERVED].regret
    assert found["tpe", "posterior"].regret < found[OBSERVED].regret


HARD = ("methods differ",)
"""Worlds in which the guide says that 24 trials are few."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_best_rate_is_among_the_finalists_in_most_worlds() -> None:
    found = {name: assess(name, range(24), ("tpe", "decide")) for name in WORLDS}
    for name, one in found.items():
        result: Result = one[MODEL]
        assert name in HARD or result.top3 > 0.9
        assert name in HARD or result.regret < one[OBSERVED].regret + 0.25

    def mean(key: tuple[str, str], name: str) -> float:
        return float(np.mean([getattr(one[key], name) for one in found.values()]))

    assert mean(MODEL, "top3") > 0.9
    assert mean(MODEL, "top1") > mean(OBSERVED, "top1")
    assert mean(MODEL, "regret") < 0.9 * mean(OBSERVED, "regret")
