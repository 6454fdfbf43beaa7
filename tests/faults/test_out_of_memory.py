"""A worker that the kernel kills because its memory has run out."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.records.trial import TrialState

from .sweeping import (
    NUM_TINY,
    ONE_WORKER,
    TINY,
    actors,
    command,
    saved_steps,
    see_its_end,
    start,
    trials,
    wait_until,
)
from .table import recorded

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    import psutil

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

RANK = "TrainWorker"
CGROUPS = Path("/sys/fs/cgroup")
STEP_BYTES = 4 * 2**20
SETTINGS = {
    **TINY,
    **ONE_WORKER,
    # Steps live on memory that the process has had before; evaluation takes much more of it.
    "task.num_validation": 256,
    "evaluation.batch_size": 256,
}


@dataclass(frozen=True)
class Cgroup:
    """A cgroup whose memory can be limited.

    Attributes:
        folder: The control group's folder.
        limit: Name of the limit's file.
        unlimited: The file's content without a limit.
        usage: Name of the file that says how much is used.
    """

    folder: Path
    limit: str
    unlimited: str
    usage: str

    def make(self) -> bool:
        """Return whether this user can create it, and limit it."""
        try:
            self.folder.mkdir()
        except OSError:
            return False
        if (self.folder / self.limit).exists():
            return True
        self.folder.rmdir()
        return False

    def add(self, process: subprocess.Popen[str]) -> None:
        """Move a process there, whose children will be there too."""
        (self.folder / "cgroup.procs").write_text(str(process.pid))

    def squeeze(self, victim: psutil.Process) -> None:
        """Lower the limit until nothing more can be taken back, or the kernel has ended it."""
        limit = int((self.folder / self.usage).read_text())
        # Version 1 refuses a limit below what cannot be taken back.
        with suppress(OSError):
            while victim.is_running():
                (self.folder / self.limit).write_text(str(limit))
                limit -= STEP_BYTES

    def lift(self) -> None:
        (self.folder / self.limit).write_text(self.unlimited)


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    name = f"droplora-{os.getpid()}"
    versions = [
        Cgroup(CGROUPS / "memory" / name, "memory.limit_in_bytes", "-1", "memory.usage_in_bytes"),
        Cgroup(CGROUPS / name, "memory.max", "max", "memory.current"),
    ]
    made = next((each for each in versions if each.make()), None)
    if made is None:
        pytest.skip("this user cannot limit a cgroup's memory")
    yield made
    made.folder.rmdir()


def exhaust(cgroup: Cgroup, driver: subprocess.Popen[str], storage: Path, mark: str) -> None:
    """Leave the first trial no room to be evaluated in, until the kernel has ended its worker."""
    cgroup.add(driver)
    wait_until(lambda: bool(saved_steps(storage, 0)), driver, "a first step")
    [rank] = actors(mark, RANK)
    cgroup.squeeze(rank)
    rank.wait(120)
    cgroup.lift()


def test_a_trial_whose_worker_the_kernel_killed_for_memory_fails_and_the_others_go_on(
    tmp_path: Path, cgroup: Cgroup
) -> None:
    mark = str(tmp_path)
    with recorded("out of memory: the kernel kills a worker") as row:
        driver = start(command(tmp_path, **SETTINGS), mark)
        exhaust(cgroup, driver, tmp_path, mark)
        row.injected = 1
        see_its_end(driver, tmp_path, row, code=3, mark=mark)
        failed, *others = trials(tmp_path)
        assert failed.state is TrialState.FAILED
        assert failed.reason is not None
        assert failed.reason.startswith("ran out of memory: the kernel ended a process")
        assert len(others) == NUM_TINY - 1
        assert all(trial.state is not TrialState.FAILED for trial in others)


def test_a_trial_whose_worker_the_kernel_killed_for_memory_goes_on_with_half_the_micro_batch(
    tmp_path: Path, cgroup: Cgroup
) -> None:
    mark = str(tmp_path)
    with recorded("out of memory: the kernel kills a worker, half the micro-batch") as row:
        settings = {**SETTINGS, "group.halve_micro_batch_on_oom": "true"}
        driver = start(command(tmp_path, **settings), mark)
        exhaust(cgroup, driver, tmp_path, mark)
        row.injected = 1
        see_its_end(driver, tmp_path, row, mark=mark)
        first, *others = trials(tmp_path)
        asked = first.spec["training"]["micro_batch_size"]
        assert first.adjusted == {"training.micro_batch_size": asked // 2}
        assert all(not trial.adjusted for trial in others)
