"""Earlier sweeps inform a new one: the same trials as they are, others by their best settings."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.plan.survey import prepare
from droplora_sweep.records.trial import EarlierTrial, TrialState, trial_id
from droplora_sweep.run.deciding import decide
from droplora_sweep.run.warm_start import earlier_trials, warm_start
from droplora_sweep.search.history import search_history
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from droplora_sweep.spec import SweepSpec, load_sweep_file, resolve
from tests.recording import evaluated, planned, result

if TYPE_CHECKING:
    from pathlib import Path

RATE, RANK, ALPHA, RATE_OF_LR = (
    "adapter.pruning_rate",
    "adapter.rank",
    "adapter.alpha",
    "training.learning_rate",
)
SPACE = {
    RATE: {"min": 0.0, "max": 0.5, "step": 0.1},
    RANK: {"values": [4, 8]},
    ALPHA: {"values": [1, 2], "ratio_of": RANK},
    RATE_OF_LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
}
DIGESTS = {"builtin_choice/train": "a" * 64, "builtin_choice/validation": "b" * 64}
OTHER_DATA = {**DIGESTS, "builtin_choice/train": "c" * 64}


def make_sweep(name: str = "new", **fields: Any) -> SweepSpec:
    search = {
        "warm_start": [{"sweep": "old", "num_points": 2}],
        "parameters": SPACE,
        "queue_baselines": False,
        **fields.pop("search", {}),
    }
    return SweepSpec.model_validate({"name": name, "search": search, **fields})


def earlier(sweep: SweepSpec, score: float, digests: Any = DIGESTS, **values: Any) -> EarlierTrial:
    drawn = {RATE: 0.2, RANK: 8, ALPHA: 2, RATE_OF_LR: 1e-3, **values}
    spec = resolve(drawn, sweep).model_dump(mode="json")
    return EarlierTrial(
        origin=f"old/t{score:g}", spec=spec, metrics={"val/mean": score}, digests=digests
    )


def test_the_same_trial_with_another_seed_informs_as_it_is() -> None:
    trial = earlier(make_sweep(seed=7), 0.5)
    priors, points = warm_start([[trial]], make_sweep(), DIGESTS, 3)
    assert not points
    [prior] = priors
    assert (prior.number, prior.origin, prior.is_prior) == (3, "old/t0.5", True)
    assert prior.drawn == {RATE: 0.2, RANK: 8, ALPHA: 2, RATE_OF_LR: 1e-3}, "alpha as its ratio"
    assert list(prior.scores.values()) == [0.5]


@pytest.mark.parametrize(
    "other",
    [
        earlier(make_sweep(task={"benchmarks": ["builtin_math"]}), 0.5),
        earlier(make_sweep(model={"dtype": "bfloat16"}), 0.5),
        earlier(make_sweep(training={"epochs": 9}), 0.5),
        earlier(make_sweep(), 0.5, OTHER_DATA),
        earlier(
            make_sweep(search={"parameters": {**SPACE, RANK: {"values": [8, 64]}}}),
            0.5,
            **{RANK: 64},
        ),
    ],
    ids=["task", "model", "fixed setting", "data", "outside of the space"],
)
def test_of_another_task_model_setting_or_space_only_the_place_is_taken(
    other: EarlierTrial,
) -> None:
    priors, points = warm_start([[other]], make_sweep(), DIGESTS)
    assert not priors
    [point] = points
    assert point.origin == "old/t0.5"
    assert point.values == {RATE: 0.2, RANK: 8, ALPHA: 2, RATE_OF_LR: 1e-3}


def test_the_best_different_settings_are_taken() -> None:
    settings = {"training": {"epochs": 9}}
    trials = [
        earlier(make_sweep(**settings), score, **{RATE: rate})
        for score, rate in [(0.1, 0.5), (0.9, 0.3), (0.8, 0.3), (0.7, 0.1), (float("nan"), 0.4)]
    ]
    _, points = warm_start([trials], make_sweep(), DIGESTS)
    assert [(point.origin, point.values[RATE]) for point in points] == [
        ("old/t0.9", 0.3),
        ("old/t0.7", 0.1),
    ]


def test_many_trials_are_thinned_evenly_over_their_ranks() -> None:
    sweep = make_sweep(search={"warm_start": [{"sweep": "old", "max_trials": 5}]})
    trials = [earlier(sweep, score / 100) for score in range(1, 42)]
    priors, _ = warm_start([trials], sweep, DIGESTS)
    assert sorted(next(iter(prior.scores.values())) for prior in priors) == [
        0.01,
        0.11,
        0.21,
        0.31,
        0.41,
    ]


def test_a_trial_that_this_version_cannot_read_is_left_out() -> None:
    trial = earlier(make_sweep(), 0.5)
    broken = replace(trial, spec={**trial.spec, "odd": 1})
    assert warm_start([[broken]], make_sweep(), DIGESTS) == ((), ())


def test_with_several_objectives_scores_inform_nobody() -> None:
    search = {"objectives": ["mean", "memory"], "stopping": {"kind": "none"}}
    sweep = make_sweep(search=search)
    priors, points = warm_start([[earlier(sweep, 0.5)]], sweep, DIGESTS)
    assert (len(priors), len(points)) == (0, 1)


def identify(number: int, spec: Any) -> tuple[str, str]:
    digest = f"{abs(hash(spec.model_dump_json())):064x}"[-64:]
    return trial_id(number, digest), digest


def test_the_ledger_has_it_and_nothing_counts_as_a_trial_of_the_sweep(tmp_path: Path) -> None:
    sweep = make_sweep(search={"num_trials": 4})
    trials = [
        earlier(sweep, 0.9),
        earlier(sweep, 0.4, **{RATE: 0.0}),
        earlier(sweep, 0.8, OTHER_DATA, **{RATE: 0.5}),
    ]
    priors, points = warm_start([trials], sweep, DIGESTS)
    writer = LedgerWriter.create(tmp_path, sweep, past=priors, points=points)
    writer.close()
    ledger = Ledger.open(tmp_path, "new")
    assert (ledger.record.past, ledger.record.points) == (priors, points)
    assert not ledger.records()
    with pytest.raises(Exception, match="no trial that has one is complete"):
        decide(ledger)
    known = search_history(ledger.record, "val/mean")
    assert all(trial.is_prior for trial in known.trials.values())
    empty = optuna.create_study(direction="maximize")
    study = reconciled_study(empty, known.trials, sweep)
    assert [trial.user_attrs["of_earlier_sweep"] for trial in study.trials] == [
        "old/t0.9",
        "old/t0.4",
    ]
    for _ in range(2):  # once more, as after a driver that died
        searcher = StudySearcher(
            sweep=sweep,
            study=study,
            identify=identify,
            room=lambda: 9,
            trials_folder="trials",
            known=known,
        )
    names = ["a", "b", "c", "d"]
    assert [searcher.suggest(name)["number"] for name in names] == [2, 3, 4, 5]
    assert searcher.planned("a").drawn == points[0].values, "the point comes first"
    for name in names:
        searcher.on_trial_complete(name, result(0.1))
    assert searcher.suggest("e") == "FINISHED", "four trials of its own"


def finished_sweep(storage: Path, sweep: SweepSpec) -> None:
    writer = LedgerWriter.create(storage, sweep, data_digests=DIGESTS)
    for number, score in enumerate([0.5, 0.7]):
        drawn = {RATE: 0.1 * number, RANK: 8, ALPHA: 2, RATE_OF_LR: 1e-3}
        spec = resolve(drawn, sweep)
        name, fingerprint = identify(number, spec)
        writer.trial_started(planned(name, number, fingerprint, spec, drawn))
        writer.trial_reported(name, evaluated(1, 10, {"val/mean": score}, num_evaluations=1))
        state = TrialState.COMPLETE if number else TrialState.FAILED
        writer.trial_finished(name, state)
    writer.close()


def prepared(storage: Path, tmp_path: Path, source: str) -> Any:
    file = tmp_path / "s.yaml"
    file.write_text(
        f"name: new\nstorage: {storage}\nsearch:\n  warm_start:\n    - {source}\n"
        f"  parameters: {json.dumps(SPACE)}\n"
    )
    loaded = load_sweep_file(file)
    return SimpleNamespace(file=loaded, sweep=loaded.sweep)


def test_a_sweeps_complete_trials_are_read_from_its_ledger(tmp_path: Path) -> None:
    storage = tmp_path / "results"
    finished_sweep(storage, make_sweep("old"))
    [[trial]] = earlier_trials(prepared(storage, tmp_path, "{sweep: old}"))
    assert trial.origin.startswith("old/t0001-")
    assert trial.metrics == {"val/mean": 0.7}
    assert trial.digests == DIGESTS


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{sweep: older}", "older"),
        ("{mlflow_experiment: old/builtin}", "must have mlflow.db in"),
        (
            "{mlflow_experiment: old/builtin, mlflow_uri: 'sqlite:////dev/null/where.db'}",
            "cannot open sqlite:////dev/null/where.db: ",
        ),
    ],
)
def test_a_source_that_is_not_there_is_refused_at_its_line(
    tmp_path: Path, source: str, problem: str
) -> None:
    found = prepared(tmp_path, tmp_path, source)
    with pytest.raises(InputError, match=r"s\.yaml:5: search\.warm_start\[0\]: ") as caught:
        earlier_trials(found)
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_an_mlflow_experiment_tells_what_the_ledger_tells(tmp_path: Path) -> None:
    from droplora_sweep.mlflow_view.publisher import publish_all

    storage = tmp_path / "results"
    sweep = make_sweep("old")
    finished_sweep(storage, sweep)
    publish_all(Ledger.open(storage, "old"), None)
    [of_ledger] = earlier_trials(prepared(storage, tmp_path, "{sweep: old}"))
    source = f"{{mlflow_experiment: old/{sweep.task.name}}}"
    [of_mlflow] = earlier_trials(prepared(storage, tmp_path, source))
    told = [warm_start([[trial]], make_sweep(), DIGESTS) for [trial] in (of_ledger, of_mlflow)]
    assert told[0] == told[1]
    assert len(told[0][0]) == 1
    missing = prepared(storage, tmp_path, "{mlflow_experiment: none}")
    with pytest.raises(InputError, match="must be an MLflow experiment, got none"):
        earlier_trials(missing)


def test_a_prepared_sweep_is_what_it_takes(tmp_path: Path) -> None:
    """The stand-in above has what a real one has."""
    file = tmp_path / "s.yaml"
    file.write_text(f"name: new\nstorage: {tmp_path}\ntask: {{num_train: 8, num_validation: 4}}\n")
    assert earlier_trials(prepare(load_sweep_file(file))) == []
