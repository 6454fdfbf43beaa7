"""MLflow that is killed in mid-sweep, or was never there: a view that is made up for later."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
from mlflow import MlflowClient

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.ui import mlflow_uri
from tests.calling import call

from .mlflow_server import MlflowServer, unused_port
from .oracle import MARK, problems
from .sweeping import NAME, ONE_GROUP, ROOT, command, start, to_end, wait_for
from .table import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]


OUTAGE_S = 60.0
MAX_DELAY_S = 5.0
NUM_LONG = 16
"""Trials of a sweep that trains for longer than the outage."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    (tmp_path / "results").mkdir()
    server = MlflowServer(tmp_path / "results")
    yield server
    server.kill()


def waits_s(ledger: Ledger) -> list[tuple[datetime, float]]:
    """End and length of what lies between two reports and is neither training nor evaluation."""
    reports = sorted(
        (report for trial in ledger.records() for report in trial.evaluations),
        key=lambda report: report.time,
    )
    return [
        (
            after.time,
            (after.time - before.time).total_seconds()
            - after.metrics["train_seconds"]
            - after.metrics["evaluation_seconds"],
        )
        for before, after in pairwise(reports)
    ]


def test_a_server_killed_for_a_minute_delays_no_training_and_lacks_nothing(
    tmp_path: Path, server: MlflowServer
) -> None:
    storage, mark = tmp_path / "results", str(tmp_path)
    settings = {
        **ONE_GROUP,
        "search.num_trials": NUM_LONG,
        "task.num_train": 480,
        "training.epochs": 4,
        "evaluation.num_evaluations": 4,
        "tracking.mlflow_uri": server.uri,
    }
    with recorded(f"MLflow server killed for {OUTAGE_S:.0f} s") as row:
        server.start()
        driver = start(command(storage, **settings), mark)
        wait_for(driver, "evaluated 1", trial=0)
        server.kill()
        killed = time.time()
        row.injected = 1
        time.sleep(OUTAGE_S)
        assert driver.poll() is None, "the sweep outlasts the outage"
        assert not server.answers()
        back = time.time()
        server.start()
        code, output = to_end(driver)
        waits = waits_s(Ledger.open(storage, NAME))
        during = [wait for end, wait in waits if killed < end.timestamp() < back]
        others = [wait for end, wait in waits if end.timestamp() > back]
        found = problems(storage, NAME, NUM_LONG, mark)
        row.result = "; ".join(found) or (
            f"nothing lost; longest wait between two evaluations {max(during):.1f} s in the "
            f"outage, {max(others, default=0):.1f} s after it"
        )
        assert code == 0, output
        assert "MLflow lacks some of it" not in output
        assert len(during) > 3
        assert max(during) < MAX_DELAY_S
        assert found == []


class Absent(NamedTuple):
    """A finished sweep whose MLflow server was never there, and whose environment had secrets.

    Attributes:
        storage: The sweep's storage folder.
        output: The driver's output.
        found: Files of it or of its Ray that hold a secret.
        num_files: Number of files that were searched.
    """

    storage: Path
    output: str
    found: list[str]
    num_files: int


SECRETS = {
    "HF_TOKEN": "canary-of-the-hub-51",
    "OPENAI_API_KEY": "canary-of-the-judge-52",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-store-53",
    "MLFLOW_TRACKING_USERNAME": "ann",
    "MLFLOW_TRACKING_PASSWORD": "canary-of-mlflow-54",
    "PGPASSWORD": "canary-of-the-study-55",
}
CANARIES = [value.encode() for value in SECRETS.values() if "canary" in value]


def files_of_ray(mark: str) -> list[Path]:
    """The log of the marked processes' Ray so far."""
    from pathlib import Path

    folders = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                words = process.cmdline()
                folders |= {
                    word.partition("=")[2] for word in words if word.startswith("--session_dir=")
                }
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]


def holding(files: list[Path]) -> list[str]:
    """Of these, the ones that hold a canary; sockets and what is gone meanwhile hold none."""
    found = []
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        found += [str(path) for canary in CANARIES if canary in content]
    return found


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Absent:
    storage = tmp_path_factory.mktemp("absent")
    settings = {
        **ONE_GROUP,
        "search.num_trials": 3,
        "tracking.mlflow_uri": f"http://127.0.0.1:{unused_port()}",
    }
    driver = start(command(storage, **settings), str(storage), SECRETS)
    wait_for(driver, "evaluated 1", trial=1)
    files = files_of_ray(str(storage))
    assert files, "Ray has written logs"
    found = holding(files)
    code, output = to_end(driver)
    assert code == 3, output
    own = [path for path in storage.rglob("*") if path.is_file()]
    return Absent(storage, output, found + holding(own), len(files) + len(own))


def test_a_sweep_without_its_server_is_published_by_sync_as_often_as_one_likes(
    absent: Absent, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = absent.storage
    with recorded("MLflow absent throughout, then `sync` twice") as row:
        assert "MLflow lacks some of it: " in absent.output
        assert "Connection refused" in absent.output
        row.injected = 1
        runs = []
        for _ in range(2):
            options = ["--storage", storage, "--mlflow-uri", mlflow_uri(storage)]
            code, _, complaint = call(capsys, "sync", NAME, *options)
            assert code == 0, complaint
            client = MlflowClient(mlflow_uri(storage))
            experiments = [each.experiment_id for each in client.search_experiments()]
            found = client.search_runs(experiments)
            runs.append({run.info.run_id: run.to_dictionary()["data"] for run in found})
        left = problems(storage, NAME, 3, str(storage))
        row.result = "; ".join(left) or "nothing lost, nothing twice"
        assert left == []
        assert runs[0] == runs[1], "the second one changes nothing"
        assert len(runs[0]) == 1 + 3


def test_no_secret_of_the_environment_is_in_any_file(absent: Absent) -> None:
    with recorded("secret canary") as row:
        row.injected = len(CANARIES)
        in_output = [each.decode() for each in CANARIES if each.decode() in absent.output]
        found = absent.found + in_output
        row.result = "; ".join(found) or f"in none of {absent.num_files} files"
        assert found == []
        assert absent.num_files > 20


def test_an_edited_sweep_is_refused_with_the_difference_and_forked(
    absent: Absent, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same file with another learning rate and one trial more."""
    storage = absent.storage
    edited = {
        **ONE_GROUP,
        "search.num_trials": 4,
        "training.epochs": 2,
        "adapter.dropout": 0.1,
    }
    log = storage / NAME / "events.jsonl"
    before = log.read_bytes()
    with recorded("resume with edited config") as row:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            code, _, complaint = call(capsys, *command(storage, **edited)[3:])
        row.injected = 1
        assert code == 2
        assert "--set training.epochs=2: training.epochs: was 1, now 2\n" in complaint
        assert "--set adapter.dropout=0.1: adapter.dropout: was 0.0, now 0.1\n" in complaint
        assert "num_trials" not in complaint, "which may change"
        assert "start a new sweep from its results with --fork NEWNAME" in complaint
        assert log.read_bytes() == before
        mark = f"{storage}-fork"
        fork = [*command(storage, **edited), "--fork", "edited"]
        code, output = to_end(start(fork, mark))
        left = problems(storage, "edited", 4, mark)
        row.result = "; ".join(left) or "refused with the difference; the fork lacks nothing"
        assert code == 0, output
        assert left == []
        assert log.read_bytes() == before
