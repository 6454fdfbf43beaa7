"""A worker that the kernel kills because its memory has run out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.tracking import TrialState

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
    from collections.abc import Iterator

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

RANK = "TrainWorker"
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (("memory", "memory.limit_in_bytes"), ("", "memory.max"))
"""Folder of the memory controller and its limit's file, in versions 1 and 2 of cgroups."""
LIMIT_BYTES = 4096
SETTINGS = {
    **TINY,
    **ONE_WORKER,
    # Steps live on memory that the process has had before; evaluation takes much more of it.
    "task.num_validation": 256,
    "evaluation.batch_size": 256,
}


@pytest.fixture
def scarce() -> Iterator[Path]:
    """A cgroup with hardly any memory; what a process has when it is moved there it keeps."""
    for controller, limit in LIMITS:
        folder = CGROUPS / controller / f"droplora-{os.getpid()}"
        with suppress(OSError):
            folder.mkdir()
            if (folder / limit).exists():
                (folder / limit).write_text(str(LIMIT_BYTES))
                yield folder
                folder.rmdir()
                return
            folder.rmdir()
    pytest.skip("this user cannot limit a cgroup's memory")


def test_a_trial_whose_worker_the_kernel_killed_for_memory_fails_and_the_others_go_on(
    tmp_path: Path, scarce: Path
) -> None:
    mark = str(tmp_path)
    with recorded("out of memory: the kernel kills a worker") as row:
        driver = start(command(tmp_path, **SETTINGS), mark)
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
        [rank] = actors(mark, RANK)
        (scarce / "cgroup.procs").write_text(str(rank.pid))
        row.injected = 1
        see_its_end(driver, tmp_path, row, code=3, mark=mark)
        failed, *others = trials(tmp_path)
        assert failed.state is TrialState.FAILED
        assert failed.reason is not None
        assert failed.reason.startswith("ran out of memory: the kernel ended a process")
        assert len(others) == NUM_TINY - 1
        assert all(trial.state is not TrialState.FAILED for trial in others)


def test_a_trial_whose_worker_the_kernel_killed_for_memory_goes_on_with_half_the_micro_batch(
    tmp_path: Path, scarce: Path
) -> None:
    mark = str(tmp_path)
    with recorded("out of memory: the kernel kills a worker, half the micro-batch") as row:
        settings = {**SETTINGS, "group.halve_micro_batch_on_oom": "true"}
        driver = start(command(tmp_path, **settings), mark)
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
        [rank] = actors(mark, RANK)
        (scarce / "cgroup.procs").write_text(str(rank.pid))
        row.injected = 1
        see_its_end(driver, tmp_path, row, mark=mark)
        first, *others = trials(tmp_path)
        asked = first.spec["training"]["micro_batch_size"]
        assert first.adjusted == {"training.micro_batch_size": asked // 2}
        assert all(not trial.adjusted for trial in others)
