"""Three hundred trials of seconds: memory, file descriptors and disk stay flat."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from .oracle import MARK, problems
from .sweeping import NAME, ONE_GROUP, command, start, to_end, trials
from .table import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

NUM_TRIALS = 300
MAX_S = 1500.0
NUM_WARM = 60
"""Trials after which caches are full and what is imported late is imported."""
MAX_MB_PER_TRIAL = 0.25
"""Growth of one process: 25 MB in a hundred trials."""
MAX_FILES_PER_TRIAL = 0.02
MAX_DISK_GROWTH = 1.2
"""Disk that a late trial takes, as a multiple of what an early one takes."""
SETTINGS = {
    **ONE_GROUP,
    "search.num_trials": NUM_TRIALS,
    "search.sampler": "random",
    "search.parameters.training.learning_rate": "{min: 1e-3, max: 2e-2, scale: log}",
    "task.num_train": 8,
    "task.num_validation": 2,
    "training.global_batch_size": 8,
    "training.warmup_ratio": 0,
    "evaluation.num_evaluations": 1,
    "evaluation.max_new_tokens": 4,
}


@dataclass(frozen=True)
class Sample:
    """The sweep's use of resources at one moment.

    Attributes:
        num_finished: Trials finished by then.
        memory_mb: Resident memory by process.
        num_files: Open file descriptors by process.
        disk_mb: All files of the storage.
    """

    num_finished: int
    memory_mb: dict[str, float]
    num_files: dict[str, int]
    disk_mb: float


def take(mark: str, driver_pid: int, storage: Path) -> Sample:
    memory_mb, num_files = {}, {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) != mark:
                continue
            name = "driver" if process.pid == driver_pid else process.name()
            if name != "driver" and not name.startswith("ray::"):
                continue
            key = f"{name} {process.pid}"
            memory_mb[key] = process.memory_info().rss / 2**20
            num_files[key] = process.num_fds()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    disk = sum(path.stat().st_size for path in storage.rglob("*") if path.is_file())
    num_finished = sum(trial.is_finished for trial in trials(storage))
    return Sample(num_finished, memory_mb, num_files, disk / 2**20)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line."""
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])


def growth(samples: list[Sample], what: str) -> dict[str, float]:
    """Per trial, of each process that was there all the time once everything was warm."""
    values = [(sample.num_finished, getattr(sample, what)) for sample in samples]
    lasting = set.intersection(*(set(each) for _, each in values))
    return {key: slope([(count, each[key]) for count, each in values]) for key in lasting}


def test_three_hundred_trials_leave_memory_files_and_disk_flat(tmp_path: Path) -> None:
    mark, storage = str(tmp_path), tmp_path / "results"
    with recorded(f"{NUM_TRIALS} trivial trials") as row:
        driver = start(command(storage, **SETTINGS), mark)
        samples: list[Sample] = []
        # A pipe holds less than what the driver says of so many trials.
        ended = ThreadPoolExecutor(1).submit(to_end, driver, MAX_S)
        while not ended.done():
            samples.append(take(mark, driver.pid, storage))
            time.sleep(2)
        code, output = ended.result()
        row.injected = NUM_TRIALS
        warm = [sample for sample in samples if sample.num_finished >= NUM_WARM]
        # After the last trial its processes end.
        warm = [sample for sample in warm if sample.num_finished < NUM_TRIALS]
        assert len(warm) > 10, output
        memory, files = growth(warm, "memory_mb"), growth(warm, "num_files")
        middle = len(warm) // 2
        early = slope([(each.num_finished, each.disk_mb) for each in warm[:middle]])
        late = slope([(each.num_finished, each.disk_mb) for each in warm[middle:]])
        found = problems(storage, NAME, NUM_TRIALS, mark)
        row.result = "; ".join(found) or (
            f"per trial at most {max(memory.values()) * 1024:.0f} kB of memory and "
            f"{max(files.values()):.3f} files more; disk {early * 1024:.0f} kB early, "
            f"{late * 1024:.0f} kB late"
        )
        assert code == 0, output
        assert found == []
        assert {key.split()[0] for key in memory} >= {"driver", "ray::RayTrainWorker"}
        assert {key: each for key, each in memory.items() if each > MAX_MB_PER_TRIAL} == {}
        assert {key: each for key, each in files.items() if each > MAX_FILES_PER_TRIAL} == {}
        assert late < early * MAX_DISK_GROWTH
