"""The searcher on a real Optuna study: what it draws, and how it tells each ending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from droplora_sweep.records.messages import Failed, tune_result
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.spec import SweepSpec
from tests.recording import result

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.spec import TrialSpec

RATES = {"adapter.pruning_rate": {"values": [0.0, 0.2, 0.4]}}
CONTINUOUS = {"training.learning_rate": {"min": 1e-4, "max": 1e-2, "scale": "log"}}


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    fingerprint = f"p{spec.adapter.pruning_rate:g} lr{spec.training.learning_rate:g}"
    return f"t{number}", fingerprint


@pytest.fixture
def make(tmp_path: Any) -> Callable[..., tuple[StudySearcher, optuna.Study]]:
    def make(room: int = 1, **search: Any) -> tuple[StudySearcher, optuna.Study]:
        fields = {"num_trials": 6, "parameters": RATES, "queue_baselines": False, **search}
        sweep = SweepSpec.model_validate({"name": "s", "search": fields})
        study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", direction="maximize")
        return StudySearcher(
            sweep=sweep, study=study, identify=identify, room=lambda: room, trials_folder="trials"
        ), study

    return make


def test_the_papers_setting_and_no_pruning_are_drawn_first(make: Any) -> None:
    searcher, _ = make(room=2, queue_baselines=True, parameters={**RATES, **CONTINUOUS})
    for tune_id in ("a", "b"):
        searcher.suggest(tune_id)
    first, second = searcher.planned("a"), searcher.planned("b")
    assert first.drawn == {"adapter.pruning_rate": 0.4, "training.learning_rate": 3e-4}
    assert second.drawn == {"adapter.pruning_rate": 0.0, "training.learning_rate": 3e-4}


def test_it_draws_no_more_than_there_is_room_for(make: Any) -> None:
    searcher, _ = make(room=1)
    assert searcher.suggest("a") is not None
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", result(0.5))
    assert searcher.suggest("b") is not None


def test_it_ends_after_the_wanted_number_of_trials(make: Any) -> None:
    searcher, _ = make(room=9, num_trials=2, parameters=CONTINUOUS)
    assert searcher.suggest("a") is not None
    assert searcher.suggest("b") is not None
    # While they run, a user may clone one.
    assert searcher.suggest("c") is None
    for name in ("a", "b"):
        searcher.on_trial_complete(name, result(0.3))
    assert searcher.suggest("c") == Searcher.FINISHED


def test_a_trial_is_run_once_and_a_small_space_ends_early(make: Any) -> None:
    searcher, study = make(room=1)
    drawn = []
    while (config := searcher.suggest(f"tune{len(drawn)}")) != Searcher.FINISHED:
        assert config is not None
        planned = searcher.planned(f"tune{len(drawn)}")
        searcher.on_trial_complete(
            f"tune{len(drawn)}", result(planned.trial_spec.adapter.pruning_rate)
        )
        drawn.append(planned.fingerprint)
    assert len(drawn) == len(set(drawn)) == 3
    repeated = [trial for trial in study.trials if trial.value is not None]
    assert all(trial.value == trial.params["adapter.pruning_rate"] for trial in repeated)


def test_a_stopped_trial_is_pruned_with_its_score_so_far(make: Any) -> None:
    searcher, study = make()
    searcher.suggest("a")
    searcher.on_trial_result("a", result(0.2, 1))
    searcher.on_trial_complete("a", result(0.3, 2))
    (trial,) = study.trials
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.2, 2: 0.3}


@pytest.mark.parametrize(
    "end",
    [
        {"result": result(float("nan"))},
        {"result": result(float("inf"))},
        {"result": tune_result(Failed("loss is nan at step 3"))},
        {"result": None},
        {"result": result(0.5), "error": True},
    ],
)
def test_a_trial_without_a_finite_score_fails_and_is_never_left_running(
    make: Any, end: dict[str, Any]
) -> None:
    searcher, study = make()
    searcher.suggest("a")
    searcher.on_trial_complete("a", **end)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]
    assert searcher.suggest("b") is not None


def test_a_complete_trial_is_told_with_its_score(make: Any) -> None:
    searcher, study = make()
    searcher.suggest("a")
    searcher.on_trial_complete("a", result(0.7))
    assert study.best_value == 0.7


def test_settings_name_alpha_itself_and_not_its_ratio(make: Any) -> None:
    ratio = {"adapter.alpha": {"values": [2], "ratio_of": "adapter.rank"}}
    searcher, _ = make(parameters={**ratio, **CONTINUOUS})
    searcher.suggest("a")
    assert searcher.planned("a").drawn["adapter.alpha"] == 2
    assert searcher.planned("a").params["adapter.alpha"] == 64
