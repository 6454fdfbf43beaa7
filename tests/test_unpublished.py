"""A sweep that MLflow lacks something of does not end as if all were well."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import SweepOutcome, TrialState, trial_id
from droplora_sweep.spec import package_versions
from droplora_sweep.tasks.loading import load_task
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def finished(
    small_sweep: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LedgerWriter:
    """A sweep of one trial that is complete, and whose MLflow server is away."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
    sweep = small_sweep(search={"num_trials": 1}, tracking={"mlflow_uri": uri})
    ledger = LedgerWriter.create(
        tmp_path / "results",
        sweep,
        data_digests=load_task(sweep.task).all_digests(),
        versions=package_versions(),
    )
    fingerprint = "00000001" + "0" * 56
    name = trial_id(0, fingerprint)
    ledger.trial_started(planned(name, 0, fingerprint, sweep.trial, {}))
    metrics = {"val/builtin_choice": 0.5, "val/mean": 0.5}
    ledger.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
    ledger.trial_finished(name, TrialState.COMPLETE)
    ledger.sweep_finished(SweepOutcome.COMPLETE)
    ledger.close()
    return ledger


@pytest.mark.timeout(120)
def test_what_mlflow_lacks_is_said_with_the_command_and_in_the_exit_code(
    call: Any, finished: LedgerWriter
) -> None:
    code, printed, _ = call("resume", "small", "--storage", str(finished.storage))
    assert code == 3
    assert "MLflow lacks some of it: " in printed
    assert "Connection refused" in printed
    assert "publish it when MLflow answers: droplora-sweep sync small --storage " in printed
