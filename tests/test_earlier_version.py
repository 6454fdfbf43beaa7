"""Results that an earlier version left are read, reported, published and resumed by this one."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from mlflow import MlflowClient

from droplora_sweep.ledger.reader import Ledger, recorded_sweep
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.replaying import read_everything, show_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable

EARLIER = Path(__file__).parent / "earlier"
SWEEPS = ("finished", "interrupted", "population", "quickstart")
ANSWER = ("benchmark", "kind", "pruning_rate", "mean", "difference", "p_value", "verdict", "trial")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The earlier version's results folder, unpacked."""
    folder = tmp_path / "results"
    with tarfile.open(EARLIER / "results.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def approximately(value: Any) -> Any:
    """The same, with numbers that may be rounded otherwise on another machine."""
    if isinstance(value, dict):
        return {name: approximately(each) for name, each in value.items()}
    if isinstance(value, list):
        return [approximately(each) for each in value]
    return pytest.approx(value, abs=1e-9) if isinstance(value, float) else value


@pytest.mark.parametrize("name", ["finished", "population", "quickstart"])
def test_the_answer_is_what_the_earlier_version_said(
    name: str, storage: Path, call: Callable[..., Any]
) -> None:
    code, printed, complaints = call("best", name, "--json", "--storage", storage)
    assert (code, complaints) == (0, "")
    then = json.loads((EARLIER / f"{name}.json").read_text(encoding="utf-8"))
    now = json.loads(printed)
    assert (now["schema"], now["sweep"]) == (then["schema"], name)
    answers = [{key: each[key] for key in ANSWER} for each in now["benchmarks"]]
    assert answers == [
        approximately({key: each[key] for key in ANSWER}) for each in then["benchmarks"]
    ]


@pytest.mark.parametrize("name", SWEEPS)
def test_its_sweeps_are_shown(name: str, storage: Path, call: Callable[..., Any]) -> None:
    read_everything(call, storage, name)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SWEEPS)
def test_its_sweeps_are_reported_and_published(
    name: str, storage: Path, call: Callable[..., Any]
) -> None:
    show_elsewhere(call, storage, name, storage)
    assert experiments(storage) == {Ledger.open(storage, name).record.experiment}


def experiments(storage: Path) -> set[str]:
    """Names of the MLflow experiments that have runs."""
    client = MlflowClient(mlflow_uri(storage))
    found = client.search_experiments()
    return {each.name for each in found if client.search_runs([each.experiment_id])}


@pytest.mark.parametrize("name", SWEEPS)
def test_its_sweeps_stay_in_the_experiments_that_they_have(name: str, storage: Path) -> None:
    """Each sweep had one of its own; now those of a task share one."""
    record = Ledger.open(storage, name).record
    own = f"{name}/{record.spec['task']['name']}"
    assert (record.experiment, recorded_sweep(record).tracking.experiment) == (own, own)


def test_its_study_has_what_its_ledger_has(storage: Path) -> None:
    ledger = Ledger.open(storage, "quickstart")
    states = {
        TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
        TrialState.STOPPED: optuna.trial.TrialState.PRUNED,
    }
    study = ledger.study
    assert [(trial.number, trial.state) for trial in study.trials] == [
        (trial.number, states[trial.state]) for trial in ledger.record.search_trials
    ]


def test_its_adapter_is_exported(storage: Path, call: Callable[..., Any], tmp_path: Path) -> None:
    trial = Ledger.open(storage, "finished").record.search_trials[0].trial_id
    output = tmp_path / "adapter"
    assert call("export", "finished", trial, "--output", output, "--storage", storage)[0] == 0
    assert (output / "adapter_model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_its_interrupted_sweep_is_resumed_from_its_checkpoints(storage: Path) -> None:
    command = [sys.executable, "-m", "droplora_sweep", "resume", "interrupted"]
    done = subprocess.run(
        [*command, "--storage", str(storage), "--address", "local"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 trials finished, 2 unfinished" in done.stdout, done.stdout
    record = Ledger.open(storage, "interrupted").record
    assert record.outcome is SweepOutcome.COMPLETE
    assert record.num_starts == 2
    assert {trial.state for trial in record.trials} <= {TrialState.COMPLETE, TrialState.STOPPED}
    assert done.stdout.count("resumes from step") == 2, done.stdout
    assert experiments(storage) == {f"interrupted/{record.spec['task']['name']}"}
