"""SIGTERM, as ``ray job stop`` and Slurm send it, and Ctrl-C while a sweep still starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow]

ROOT = Path(__file__).parents[1]


def test_a_signal_in_the_middle_of_a_trial_ends_the_sweep_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"]
    settings = ["--set", f"storage={tmp_path}", "--set", "training.epochs=500"]
    process = subprocess.Popen(
        [*command, *settings, "--address", "local"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("t0000-"):
            break
    process.send_signal(signal.SIGTERM)
    output, complaints = process.communicate(timeout=200)
    assert process.returncode == 75, output + complaints
    assert "interrupted by SIGTERM, resumable: droplora-sweep resume quickstart" in output
    assert complaints == ""

    record = Ledger.open(tmp_path, "quickstart").record
    assert record.outcome is SweepOutcome.INTERRUPTED
    assert [trial.state for trial in record.trials] == [TrialState.RUNNING]

    from mlflow import MlflowClient

    from droplora_sweep.mlflow_view.ui import mlflow_uri

    client = MlflowClient(mlflow_uri(tmp_path))
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert {run.info.status for run in client.search_runs(experiments)} == {"KILLED"}


@pytest.mark.parametrize("after_s", [0.3, 3.0])
def test_ctrl_c_while_ray_starts_is_one_line_and_leaves_nothing(
    tmp_path: Path, after_s: float
) -> None:
    command = [sys.executable, "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"]
    process = subprocess.Popen(
        [*command, "--storage", str(tmp_path / "results"), "--address", "local"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert "connecting to Ray" in process.stdout.readline()
    time.sleep(after_s)
    # As a terminal does: to the whole family.
    os.killpg(process.pid, signal.SIGINT)
    output, complaints = process.communicate(timeout=200)
    assert (process.returncode, complaints) == (130, "interrupted by Ctrl-C\n"), output
    assert not (tmp_path / "results").exists()
