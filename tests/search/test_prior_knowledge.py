"""The trials that earlier knowledge saves, on a function whose best point is known."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

from droplora_sweep.records.trial import TrialState
from droplora_sweep.search.history import SearchHistory, TrialHistory
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from droplora_sweep.spec import SweepSpec
from tests.recording import result

if TYPE_CHECKING:
    from droplora_sweep.spec import TrialSpec

NUM_SEEDS = 24
MOST_TRIALS = 60
GOOD = 0.9
RATE, RATE_OF_LR, DECAY = (
    "adapter.pruning_rate",
    "training.learning_rate",
    "training.weight_decay",
)
SPACE = {
    RATE: {"min": 0.0, "max": 0.8},
    RATE_OF_LR: {"min": 1e-5, "max": 1e-2, "scale": "log"},
    DECAY: {"min": 0.0, "max": 1.0},
}


def score(params: Any, shift: float = 0.0) -> float:
    """1 at its best; ``shift`` moves that point, as another task does."""
    rate = (params[RATE] - 0.3 - shift) / 0.4
    learning_rate = (math.log10(params[RATE_OF_LR]) + 3.5 - 2 * shift) / 1.0
    decay = (params[DECAY] - 0.6) / 0.8
    return 1 - (rate**2 + learning_rate**2 + decay**2)


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    return f"t{number}", f"{spec.adapter.pruning_rate} {spec.training}"


def num_trials_to_good(kind: str, seed: int, trials: Any, points: Any) -> int:
    """Trials of its own that a search needs for a score of 0.9."""
    search = {"num_trials": MOST_TRIALS, "parameters": SPACE, "sampler": kind}
    fields = {"name": "s", "seed": seed, "search": {**search, "queue_baselines": False}}
    sweep = SweepSpec.model_validate(fields)
    priors = {
        number: TrialHistory(
            number=number,
            name=f"old/{number}",
            drawn=params,
            state=TrialState.COMPLETE,
            scores={1: value},
            is_prior=True,
        )
        for number, (params, value) in enumerate(trials)
    }
    study = reconciled_study(optuna.create_study(direction="maximize"), priors, sweep)
    known = SearchHistory(trials=priors, points=tuple(points))
    searcher = StudySearcher(
        sweep=sweep,
        study=study,
        identify=identify,
        room=lambda: 1,
        trials_folder="trials",
        known=known,
    )
    for count in range(1, MOST_TRIALS + 1):
        name = f"tune{count}"
        searcher.suggest(name)
        value = score(searcher.planned(name).drawn)
        if value >= GOOD:
            return count
        searcher.on_trial_complete(name, result(value))
    return MOST_TRIALS


def earlier(seed: int, shift: float) -> list[tuple[dict[str, float], float]]:
    """Thirty random trials of an earlier sweep."""
    generator = np.random.default_rng(1000 + seed)
    drawn = [
        {RATE: 0.8 * a, RATE_OF_LR: 10 ** (-5 + 3 * b), DECAY: c}
        for a, b, c in generator.random((30, 3)).tolist()
    ]
    return [(params, score(params, shift)) for params in drawn]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_earlier_trials_save_trials_and_wrong_ones_cost_few() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    needed: dict[str, list[int]] = {"cold": [], "same": [], "similar": [], "misleading": []}
    for seed in range(NUM_SEEDS):
        needed["cold"].append(num_trials_to_good("tpe", seed, (), ()))
        needed["same"].append(num_trials_to_good("tpe", seed, earlier(seed, 0.0), ()))
        for name, shift in (("similar", 0.05), ("misleading", 0.4)):
            best = sorted(earlier(seed, shift), key=lambda one: -one[1])[:3]
            points = [params for params, _ in best]
            needed[name].append(num_trials_to_good("tpe", seed, (), points))
    medians = {name: median(counts) for name, counts in needed.items()}
    print(medians)  # noqa: T201 - the measurement
    assert medians["same"] <= 0.6 * medians["cold"]
    assert medians["similar"] <= 0.8 * medians["cold"]
    assert medians["misleading"] <= medians["cold"] + 4
