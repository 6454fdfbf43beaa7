"""A search by bits per byte, of which less is better, decides as one by a score that mirrors it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from droplora_sweep.analysis.pairing import is_behind
from droplora_sweep.records.messages import SUBMISSION, Evaluated, Failed, Submission, tune_result
from droplora_sweep.records.trial import RecordedEvaluation, TrialRecord
from droplora_sweep.records.trial import TrialState as State
from droplora_sweep.run.population import members_of
from droplora_sweep.run.warm_start import warm_start
from droplora_sweep.search.history import search_history, trial_history
from droplora_sweep.search.scheduler import BASELINE, NUMBER, make_scheduler
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.spec import SweepSpec, resolve
from tests.recording import evaluated
from tests.run import test_warm_start as warm
from tests.search.test_stopping import KINDS, outcomes_of, scores_of

BITS, SCORE = "bits_per_byte/val/mean", "val/mean"
RATE = "adapter.pruning_rate"
SPACE = {
    RATE: {"min": 0.0, "max": 0.8},
    "training.learning_rate": {"min": 1e-4, "max": 1e-2, "scale": "log"},
}
NUM_EVALUATIONS = 9


def make_sweep(metric: str, **fields: Any) -> SweepSpec:
    search = {"metric": metric, "parameters": SPACE, **fields.pop("search", {})}
    evaluation = {"likelihood": True, **fields.pop("evaluation", {})}
    return SweepSpec.model_validate(
        {"name": "s", "search": search, "evaluation": evaluation, **fields}
    )


def metrics_of(score: float) -> dict[str, float]:
    """The score, and bits per byte that are its mirror image."""
    return {SCORE: score, BITS: 1 - score}


def trial_of(number: int, score: float, sweep: SweepSpec, **fields: Any) -> TrialRecord:
    drawn = {RATE: 0.1 * number, "training.learning_rate": 1e-3}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    evaluation = evaluated(1, 10, metrics_of(score), num_evaluations=1)
    return TrialRecord(
        trial_id=f"t000{number}-00000000",
        number=number,
        fingerprint=f"{number}",
        spec=resolve(drawn, sweep).model_dump(mode="json"),
        params=drawn,
        drawn=drawn,
        evaluations=(RecordedEvaluation(**vars(evaluation), time=now),),
        metrics=metrics_of(score),
        started=now,
        **{"state": State.COMPLETE, **fields},
    )


def reached(sweep: SweepSpec, numbers: range, known: Any = ()) -> dict[int, int]:
    """The evaluations of each trial, one after another, until the rule stops it."""
    rule = make_scheduler(sweep, known, partial(is_behind, subject="mean"))
    counts = {}
    for number in numbers:
        config = {SUBMISSION: Submission(trial_id=f"t{number}", spec=""), NUMBER: number}
        client: Any = SimpleNamespace(trial_id=f"tune{number}", config={**config, BASELINE: False})
        rule.on_trial_add(None, client)
        for index, score in enumerate(scores_of(number), start=1):
            counts[number] = index
            evaluation = evaluated(
                index,
                10 * index,
                metrics_of(score),
                num_evaluations=NUM_EVALUATIONS,
                outcomes=outcomes_of(score),
            )
            answer = rule.on_trial_result(None, client, tune_result(Evaluated(evaluation)))
            if answer == TrialScheduler.STOP:
                break
        rule.on_trial_complete(None, client, tune_result(Failed("the machine is gone")))
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_stopping_rules_stop_the_same_trials(kind: str) -> None:
    options = {
        "search": {"stopping": {"kind": kind}},
        "evaluation": {"num_evaluations": NUM_EVALUATIONS},
    }
    by_bits = reached(make_sweep(BITS, **options), range(24))
    assert by_bits == reached(make_sweep(SCORE, **options), range(24))
    # Some are stopped, and the best is not.
    assert min(by_bits.values()) < NUM_EVALUATIONS
    assert by_bits[max(range(24), key=lambda number: scores_of(number)[-1])] == NUM_EVALUATIONS


def searched(metric: str) -> optuna.Study:
    """A TPE search whose score is best at a rate of 0.3 and a learning rate of 1e-3."""
    sweep = make_sweep(metric, search={"num_trials": 16, "num_startup_trials": 5})
    study = optuna.create_study(direction="maximize")
    searcher = StudySearcher(
        sweep=sweep,
        study=study,
        identify=lambda number, spec: (f"t{number}", spec.model_dump_json()),
        room=lambda: 1,
        trials_folder="trials",
    )
    while searcher.suggest("a") not in (None, Searcher.FINISHED):
        spec = searcher.planned("a").trial_spec
        rate, learning_rate = spec.adapter.pruning_rate, spec.training.learning_rate
        score = 0.8 - (rate - 0.3) ** 2 - 0.1 * math.log10(learning_rate / 1e-3) ** 2
        last = evaluated(3, 30, metrics_of(score), num_evaluations=3)
        searcher.on_trial_complete("a", tune_result(Evaluated(last)))
    return study


def test_tpe_draws_the_same_trials_and_finds_the_least() -> None:
    by_bits, by_score = searched(BITS), searched(SCORE)
    assert [one.params for one in by_bits.trials] == [one.params for one in by_score.trials]
    assert len(by_bits.trials) == 16
    assert by_bits.best_trial.number == by_score.best_trial.number
    assert by_bits.best_value == pytest.approx(by_score.best_value - 1)
    assert {one.state for one in by_bits.trials} == {TrialState.COMPLETE}


def test_a_resumed_search_knows_what_it_reported() -> None:
    sweep = make_sweep(BITS)
    trials = tuple(trial_of(number, score, sweep) for number, score in enumerate((0.5, 0.7)))
    record: Any = SimpleNamespace(
        past=(),
        search_trials=trials,
        queued_clones=(),
        points=(),
        spec=sweep.model_dump(mode="json"),
    )
    known = search_history(record, BITS)
    assert [known.trials[number].score for number in (0, 1)] == pytest.approx([-0.5, -0.3])
    assert [known.ended[name] for name in ("0", "1")] == pytest.approx([-0.5, -0.3])


def test_a_trial_that_did_not_measure_it_has_no_score_here() -> None:
    trial = trial_of(0, 0.5, make_sweep(BITS))
    [evaluation] = trial.evaluations
    older = RecordedEvaluation(**{**vars(evaluation), "metrics": {SCORE: 0.5}})
    known = trial_history(TrialRecord(**{**vars(trial), "evaluations": (older,)}), BITS)
    assert (known.state, known.score) == (State.FAILED, None)


def test_members_of_a_population_are_ranked_by_it() -> None:
    sweep = make_sweep(
        BITS,
        search={
            "sampler": "random",
            "stopping": "none",
            "population": {},
            "queue_baselines": False,
            "num_trials": 8,
        },
    )
    record: Any = SimpleNamespace(search_trials=[trial_of(0, 0.25, sweep)])
    [member] = members_of(record, sweep)
    assert member.scores == {1: -0.75}


def test_a_warm_start_prefers_the_least_and_mixes_no_scales() -> None:
    sweep = warm.make_sweep(search={"metric": BITS}, evaluation={"likelihood": True})

    def trials(*metrics: dict[str, float]) -> list[Any]:
        return [
            type(found)(**{**vars(found), "metrics": each})
            for index, each in enumerate(metrics)
            for found in [warm.earlier(sweep, index, **{RATE: 0.1 * (index + 1)})]
        ]

    def scores(*metrics: dict[str, float]) -> list[float]:
        priors, points = warm_start([trials(*metrics)], sweep, warm.DIGESTS)
        assert len(priors) + len(points) > 0
        return [score for prior in priors for score in prior.scores.values()]

    assert scores(metrics_of(0.9), metrics_of(0.6)) == pytest.approx([-0.1, -0.4])
    # Without it their scores are on another scale: the best setting is run early.
    assert scores({SCORE: 0.6}, {SCORE: 0.9}) == []
    _, [point, _] = warm_start([trials({SCORE: 0.6}, {SCORE: 0.9})], sweep, warm.DIGESTS)
    assert point.values[RATE] == pytest.approx(0.2)
