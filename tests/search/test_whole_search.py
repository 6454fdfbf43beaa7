"""A real sweep by a Gaussian process, with the rule `futility` and a budget of hours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.run.spending import wall_time

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
HOURS = 0.025
MORE_HOURS = 0.05
SETTINGS = {
    "task.benchmarks": "[builtin_choice]",
    "task.num_train": 48,
    "task.num_validation": 32,
    "training.epochs": 2,
    "training.global_batch_size": 16,
    "evaluation.max_new_tokens": 12,
    "evaluation.num_evaluations": 3,
    "group.num_workers": 1,
    "group.max_groups": 1,
    "confirm": "null",
    "search.num_trials": "null",
    "search.num_startup_trials": 3,
    "search.sampler": "gp",
    "search.stopping": "{kind: futility}",
}


def run(storage: Path, hours: float) -> tuple[int, str]:
    given = {**SETTINGS, "storage": storage, "search.budget": f"{{wall_clock_hours: {hours}}}"}
    words = [part for path, value in given.items() for part in ("--set", f"{path}={value}")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"),
            *("--address", "local"),
            *words,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that its budget ended."""
    folder = tmp_path_factory.mktemp("results")
    code, output = run(folder, HOURS)
    assert code == 0, output
    assert "search.budget.wall_clock_hours: " in output
    return folder


def test_the_budget_ends_the_sweep_complete_with_its_reason(storage: Path) -> None:
    record = Ledger.open(storage, "quickstart").record
    assert record.outcome is SweepOutcome.COMPLETE
    assert record.reason is not None
    assert record.reason.startswith("search.budget.wall_clock_hours: ")
    assert wall_time(record).total_seconds() >= HOURS * 3600
    assert record.trials
    assert all(trial.state in (TrialState.COMPLETE, TrialState.STOPPED) for trial in record.trials)
    for trial in record.trials:
        assert all(len(report.outcomes["builtin_choice"]) == 32 for report in trial.evaluations)


def test_optuna_dashboard_shows_every_trial_of_the_study(storage: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    study = f"sqlite:///{storage}/quickstart/study.db"
    program = Path(sys.executable).with_name("optuna-dashboard")
    server = subprocess.Popen([program, study, "--port", str(port), "--quiet"])
    try:
        [summary] = ask(port, "studies")["study_summaries"]
        shown = ask(port, f"studies/{summary['study_id']}")["trials"]
    finally:
        server.terminate()
        server.wait(30)
    assert summary["study_name"] == "quickstart"
    states = {TrialState.COMPLETE: "Complete", TrialState.STOPPED: "Pruned"}
    by_number = {trial["number"]: trial for trial in shown}
    for trial in Ledger.open(storage, "quickstart").records():
        assert by_number[trial.number]["state"] == states[trial.state]
        params = {one["name"] for one in by_number[trial.number]["params"]}
        assert params == set(trial.drawn)


def test_with_a_larger_budget_it_goes_on_and_keeps_what_it_has(storage: Path) -> None:
    before = Ledger.open(storage, "quickstart").record
    code, output = run(storage, HOURS)
    assert code == 0, output
    assert "nothing to do" in output
    code, output = run(storage, MORE_HOURS)
    assert code == 0, output
    after = Ledger.open(storage, "quickstart").record
    assert after.trials[: len(before.trials)] == before.trials
    assert len(after.trials) > len(before.trials)
    assert after.outcome is SweepOutcome.COMPLETE
    assert wall_time(after).total_seconds() >= MORE_HOURS * 3600


def ask(port: int, path: str) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}") as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < deadline, "the dashboard does not answer"
            time.sleep(0.5)
