"""A small real sweep as a user runs it, to be hit by faults."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from droplora_sweep.ledger.reader import Ledger, has_sweep

from .oracle import MARK, problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from droplora_sweep.records.trial import TrialRecord

    from .table import Row

ROOT = Path(__file__).parents[2]
NUM_TRIALS = 4
SETTINGS = {
    "group.num_workers": 2,
    "search.num_trials": NUM_TRIALS,
    "task.num_train": 48,
    "task.num_validation": 8,
    "evaluation.num_evaluations": 2,
    "training.epochs": 1,
    "training.global_batch_size": 16,
    "confirm": "null",
}

NAME = "quickstart"
NUM_TINY = 3
TINY = {
    "search.num_trials": NUM_TINY,
    "task.benchmarks": "[builtin_choice]",
    "evaluation.max_new_tokens": 12,
    "training.epochs": 6,
    "checkpoint.every_steps": 1,
}
"""Settings of a few trials that take seconds and save themselves after each step."""
ONE_WORKER = {"group.num_workers": 1, "group.max_groups": 1}
"""As small as a group can be: each process costs its imports."""
ONE_GROUP: dict[str, object] = {
    **ONE_WORKER,
    "task.benchmarks": "[builtin_choice]",
    "search.stopping": "{kind: none}",
}
"""One trial after the other runs to its end: what happens when is known."""
TIMEOUT_S = 400.0
STARTED: list[subprocess.Popen[str]] = []
"""Drivers of this test session; one that a failed test leaves is ended after it."""


def command(
    storage: Path | str, *words: str, address: str = "local", **settings: object
) -> list[str]:
    """``droplora-sweep run`` of the quickstart, or of other words, in this storage."""
    base = [sys.executable, "-m", "droplora_sweep"]
    if words:
        return [*base, *words, "--storage", str(storage)]
    given = {
        **SETTINGS,
        "storage": storage,
        **{k.replace("__", "."): v for k, v in settings.items()},
    }
    overrides = [part for path, value in given.items() for part in ("--set", f"{path}={value}")]
    return [*base, "run", "search_spaces/quickstart.yaml", "--address", address, *overrides]


def start(
    arguments: list[str], mark: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a driver whose processes are marked; its output is one pipe."""
    driver = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", MARK: mark, **(environment or {})},
    )
    STARTED.append(driver)
    return driver


def wait_for(driver: subprocess.Popen[str], text: str, trial: int) -> None:
    """Until a driver says something of a trial, e.g. ``evaluated 1``; fails where it ends before.

    Args:
        driver: As started here.
        text: Part of the line.
        trial: The trial's number.
    """
    assert driver.stdout is not None
    lines = []
    for line in driver.stdout:
        lines.append(line)
        if line.startswith(f"t{trial:04d}-") and text in line:
            return
    raise AssertionError("the driver ended before: " + "".join(lines))


def to_end(driver: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Exit code and what is left of the output of a driver that ends by itself."""
    output, _ = driver.communicate(timeout=timeout_s)
    return driver.returncode, output


def wait_until(condition: Callable[[], bool], driver: subprocess.Popen[str], what: str) -> None:
    """Wait for a condition while a driver runs."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert driver.poll() is None, f"{what}: the driver ended, {driver.communicate()[0]}"
        assert time.monotonic() < deadline, f"{what}: not within {TIMEOUT_S:g} s"
        time.sleep(0.1)


def trials(storage: Path) -> list[TrialRecord]:
    """The trials in the sweep's ledger; none before it has begun."""
    return Ledger.open(storage, NAME).records() if has_sweep(storage, NAME) else []


def saved_steps(storage: Path, number: int) -> set[str]:
    """Checkpoints of a numbered trial that are there now, by name."""
    found = storage.glob(f"{NAME}/trials/t{number:04d}-*/checkpoints/step-*/state.json")
    return {path.parent.name for path in found}


def actors(mark: str, title: str) -> list[psutil.Process]:
    """Living Ray actors of a case by a part of their class's name, oldest first."""
    found = [
        process
        for process, words in _processes(mark)
        if words.startswith("ray::") and title in words
    ]
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def ray_folders(mark: str) -> set[Path]:
    """Folders of the Rays that drivers of a case have started; a killed driver leaves its own."""
    found = (re.findall(r"/tmp/ray-\w+", words) for _, words in _processes(mark))
    return {Path(folder) for folders in found for folder in folders}


def _processes(mark: str) -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                yield process, " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def kill_all(processes: list[psutil.Process]) -> int:
    """Send SIGKILL and see that it ended them; how many there were."""
    assert processes, "there must be a process to kill"
    for process in processes:
        process.kill()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
    return len(processes)


def see_its_end(
    driver: subprocess.Popen[str],
    storage: Path,
    row: Row,
    *,
    code: int = 0,
    num_planned: int = NUM_TINY,
    mark: str | None = None,
) -> str:
    """Wait for a sweep's end, which must have this exit code, and ask the oracle; its output."""
    output, _ = driver.communicate(timeout=TIMEOUT_S)
    assert driver.returncode == code, output
    found = problems(storage, NAME, num_planned, mark)
    row.result = "nothing lost" if not found else "; ".join(found)
    assert found == []
    return output
