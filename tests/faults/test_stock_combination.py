"""The stock combination under some of the same faults, so that both results stand side by side.

Nothing is asked of it but that the fault met it; what it loses is measured and shown.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from .table import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.ray]

PROGRAM = Path(__file__).with_name("stock_sweep.py")
SYSTEM = "stock"
NUM_TRIALS = 4
TIMEOUT_S = 280.0


@dataclass(frozen=True)
class Left:
    """Files and runs that the stock combination left.

    Attributes:
        trained: How often each trial was trained to its end, by learning rate.
        mlflow_states: MLflow runs by status.
        optuna_states: Optuna trials by state.
    """

    trained: Counter[float]
    mlflow_states: Counter[str]
    optuna_states: Counter[str]

    def __str__(self) -> str:
        repeated = sum(times - 1 for times in self.trained.values())
        return (
            f"{len(self.trained)} of {NUM_TRIALS} trials, {repeated} trained again; "
            f"MLflow {_counts(self.mlflow_states)}; Optuna {_counts(self.optuna_states)}"
        )


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "nothing"


def _rows(database: Path, query: str) -> list[tuple[str]]:
    if not database.is_file():
        return []
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


class Stock:
    """Runs of the stock combination over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ray_folders: list[str] = []

    def start(self, *arguments: str, tracking_uri: str | None = None) -> subprocess.Popen[bytes]:
        """One run; its Ray has a folder of its own."""
        self._ray_folders.append(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        uri = tracking_uri or f"sqlite:///{self.folder / 'mlflow.db'}"
        options = ["--num-trials", str(NUM_TRIALS), "--tracking-uri", uri]
        options += ["--ray-folder", self._ray_folders[-1], *arguments]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, PROGRAM, self.folder, *options], stdout=log, stderr=log
            )

    def num_trained(self) -> int:
        return sum(self.left().trained.values())

    def wait_for_trained(self, count: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while self.num_trained() < count:
            assert process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"{self.num_trained()} trials are trained"
            time.sleep(0.2)

    def left(self) -> Left:
        done = self.folder / "done.jsonl"
        lines = done.read_text().splitlines() if done.is_file() else []
        runs = _rows(self.folder / "mlflow.db", "SELECT status FROM runs")
        trials = _rows(self.folder / "optuna.db", "SELECT state FROM trials")
        return Left(
            Counter(json.loads(line)["learning_rate"] for line in lines),
            Counter(status for (status,) in runs),
            Counter(state for (state,) in trials),
        )

    def remove_ray_folders(self) -> None:
        for folder in self._ray_folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Stock]:
    stock = Stock(tmp_path)
    yield stock
    stock.remove_ray_folders()


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    """Send the driver a signal; if it is the last, its Ray processes go too."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.wait(TIMEOUT_S)
    for child in children:
        if child.is_running():
            child.kill()
    psutil.wait_procs(children, timeout=30)


@pytest.mark.timeout(700)
def test_driver_killed_and_restored(stock: Stock) -> None:
    with recorded("driver SIGKILL, then restored", SYSTEM) as row:
        driver = stock.start()
        stock.wait_for_trained(2, driver)
        _end(driver, signal.SIGKILL)
        row.injected = 1
        again = stock.start("--restore")
        code = again.wait(2 * TIMEOUT_S)
        row.result = f"exit {code}; {stock.left()}"
    assert driver.returncode == -signal.SIGKILL
    assert stock.num_trained() >= 2


@pytest.mark.timeout(400)
def test_sigterm(stock: Stock) -> None:
    with recorded("SIGTERM, as `ray job stop` sends", SYSTEM) as row:
        driver = stock.start()
        stock.wait_for_trained(1, driver)
        _end(driver, signal.SIGTERM)
        row.injected = 1
        row.result = f"exit {driver.returncode}; {stock.left()}"
    assert stock.num_trained() >= 1


@pytest.mark.timeout(700)
def test_nan_in_the_metric(stock: Stock) -> None:
    with recorded("NaN in the metric", SYSTEM) as row:
        driver = stock.start("--gives-nan")
        code = driver.wait(2 * TIMEOUT_S)
        row.injected = NUM_TRIALS
        row.result = f"exit {code}; {stock.left()}"
    assert stock.num_trained() == NUM_TRIALS
