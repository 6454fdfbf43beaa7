"""The same sweep on a running Ray cluster: as a Ray job, and through Ray Client."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.plugin.test_own_code import check_scores, write_sweep

if TYPE_CHECKING:
    from tests.raylets import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--set", "search.num_trials=2"),
    *("--set", "task.benchmarks=[builtin_choice]"),
    *("--set", "task.num_train=32"),
    *("--set", "task.num_validation=8"),
    *("--set", "evaluation.num_evaluations=1"),
    *("--set", "training.global_batch_size=16"),
    *("--set", "confirm=null"),
]


def run(command: list[str], cluster: Cluster) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False
    )


def check_complete(storage: Path, name: str) -> None:
    record = Ledger.open(storage, name).record
    assert record.outcome is SweepOutcome.COMPLETE
    assert [trial.state for trial in record.trials] == [TrialState.COMPLETE] * 2
    assert all(trial.adapter is not None and trial.adapter.is_dir() for trial in record.trials)


def test_ray_job_submit_runs_a_sweep_whose_group_spans_two_raylets(
    cluster: Cluster, tmp_path: Path
) -> None:
    submit = ["ray", "job", "submit", "--address", cluster.jobs, "--working-dir", ".", "--"]
    sweep = ["python", "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"]
    done = run([*submit, *sweep, *SMALL, "--set", f"storage={tmp_path}"], cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "What to use" in done.stdout
    check_complete(tmp_path, "quickstart")


def test_ray_job_submit_takes_scorers_along_in_its_working_directory(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_sweep(folder, "length")
    submit = ["ray", "job", "submit", "--address", cluster.jobs, "--working-dir", str(folder), "--"]
    sweep = ["droplora-sweep", "run", "own.yaml", "--set", f"storage={tmp_path}"]
    done = run([*submit, *sweep], cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    check_scores(tmp_path)


def test_ray_client_runs_the_driver_on_the_head_node_and_shows_its_words(
    cluster: Cluster, tmp_path: Path
) -> None:
    sweep = ["droplora-sweep", "run", "search_spaces/quickstart.yaml", "--name", "by-client"]
    storage = ["--set", f"storage={tmp_path}"]
    done = run([*sweep, *SMALL, *storage, "--address", cluster.client], cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "t0001" in done.stdout
    check_complete(tmp_path, "by-client")
