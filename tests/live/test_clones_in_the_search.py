"""Clones run before what is drawn next, on top of the planned trials; pins spare a trial."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from droplora_sweep.records.messages import (
    SUBMISSION,
    Stopped,
    Submission,
    submission_of,
    tune_result,
)
from droplora_sweep.search.scheduler import BASELINE, Pins
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.spec import SweepSpec
from droplora_sweep.spec.fields import with_fields
from tests.recording import evaluated, planned, result

if TYPE_CHECKING:
    from droplora_sweep.records.trial import PlannedTrial
    from droplora_sweep.spec import TrialSpec

SWEEP = SweepSpec.model_validate(
    {
        "name": "s",
        "search": {
            "num_trials": 1,
            "queue_baselines": False,
            "parameters": {"adapter.pruning_rate": {"values": [0.0, 0.2, 0.4]}},
        },
    }
)


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    return f"t{number}", f"p{spec.adapter.pruning_rate:g} seed{spec.seed}"


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


@pytest.fixture
def searcher(study: optuna.Study) -> StudySearcher:
    return StudySearcher(
        sweep=SWEEP, study=study, identify=identify, room=lambda: 1, trials_folder="trials"
    )


def queue(searcher: StudySearcher, seed: int, drawn: dict[str, Any]) -> PlannedTrial:
    spec = with_fields(SWEEP.trial, {"seed": seed, **drawn})
    number = searcher.reserve(drawn)
    name, fingerprint = identify(number, spec)
    clone = planned(name, number, fingerprint, spec, {"seed": seed}, drawn, clone_of="t0")
    searcher.queue(clone)
    return clone


def test_a_clone_can_be_made_as_long_as_a_trial_runs(searcher: StudySearcher) -> None:
    assert searcher.suggest("a") is not None
    assert searcher.suggest("b") is None
    queue(searcher, 7, {})
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", result(0.5))
    config = searcher.suggest("b")
    assert submission_of(config).trial_id == "t1"
    searcher.on_trial_complete("b", result(0.6))
    assert not searcher.is_over
    assert searcher.suggest("c") == Searcher.FINISHED
    assert searcher.is_over


def test_the_sampler_learns_from_a_clone_that_it_could_have_drawn(
    searcher: StudySearcher, study: optuna.Study
) -> None:
    queue(searcher, SWEEP.seed, {"adapter.pruning_rate": 0.2})
    queue(searcher, 7, {})
    for name, score in (("a", 0.5), ("b", 0.9)):
        searcher.suggest(name)
        searcher.on_trial_complete(name, result(score))
    inside, outside = study.trials
    assert (inside.state, inside.value) == (TrialState.COMPLETE, 0.5)
    assert inside.params == {"adapter.pruning_rate": 0.2}
    assert outside.state is TrialState.FAIL
    # The planned trial is still to come.
    assert searcher.suggest("c") is not None


def test_the_same_clone_is_known_while_it_waits_runs_and_has_ended(
    searcher: StudySearcher,
) -> None:
    clone = queue(searcher, 7, {})
    assert searcher.is_known(clone.fingerprint)
    searcher.suggest("a")
    assert searcher.is_known(clone.fingerprint)
    searcher.on_trial_complete("a", result(0.5))
    assert searcher.is_known(clone.fingerprint)
    assert not searcher.is_known("another")


def test_a_trial_stopped_by_hand_is_pruned_at_its_last_score(
    searcher: StudySearcher, study: optuna.Study
) -> None:
    searcher.suggest("a")
    searcher.on_trial_result("a", result(0.4, 1))
    searcher.on_trial_complete(
        "a", tune_result(Stopped(evaluated(1, 10, {"val/mean": 0.4}, num_evaluations=3)))
    )
    [trial] = study.trials
    assert (trial.state, trial.value) == (TrialState.PRUNED, 0.4)


def test_one_that_never_gave_a_score_has_failed_for_the_sampler(
    searcher: StudySearcher, study: optuna.Study
) -> None:
    searcher.suggest("a")
    searcher.on_trial_complete("a", tune_result(Stopped(None)))
    assert study.trials[0].state is TrialState.FAIL


def test_a_pin_makes_the_scheduler_spare_a_trial_as_it_does_baselines() -> None:
    def tune_trial(name: str) -> Any:
        return SimpleNamespace(
            config={SUBMISSION: Submission(trial_id=name, spec=""), BASELINE: False}
        )

    pins = Pins(["before"])
    before, later, never = (tune_trial(name) for name in ("before", "later", "never"))
    for trial in (before, later, never):
        pins.started(trial)
    pins.add("later")
    assert [trial.config[BASELINE] for trial in (before, later, never)] == [True, True, False]
