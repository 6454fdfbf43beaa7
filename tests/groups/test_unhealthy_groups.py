"""Groups that freeze, run out of memory or keep dying, for real: Ray Train workers and signals."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import ray

from droplora_sweep.groups.exits import this_worker
from droplora_sweep.groups.manager import GroupManager
from droplora_sweep.groups.messages import Delivery
from droplora_sweep.groups.pool import start_pool
from droplora_sweep.records.messages import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.usefixtures("local_ray"),
]

TIMEOUT_S = 200.0


def call(pool: Any, method: str, *args: Any) -> Any:
    return ray.get(getattr(pool, method).remote(*args))


def group_pids(pool: Any, group: str = "g0") -> list[int]:
    """The group's processes, by rank, once they have entered."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if workers := call(pool, "workers", group):
            return [worker.pid for worker in workers]
        time.sleep(0.2)
    raise AssertionError(f"{group} has not entered")


def wait_for_checkpoint(folder: Path, after_step: int) -> None:
    """Until the trial has saved a step after that one."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        saved = [int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoints/step-*")]
        if max(saved, default=0) > after_step:
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint after step {after_step}")


def test_a_frozen_group_is_ended_and_its_trial_goes_on_in_a_new_one(
    small_sweep: Callable[..., Any], tmp_path: Path
) -> None:
    training = {"epochs": 24, "global_batch_size": 8, "micro_batch_size": 4, "warmup_steps": 0}
    sweep = small_sweep(
        group={"silence_floor_s": 10}, checkpoint={"every_steps": 4}, training=training
    )
    folder = tmp_path / "small" / "trials" / "a"
    folder.mkdir(parents=True)
    (tmp_path / "small" / "sweep.yaml").touch()
    said: list[str] = []
    pool = start_pool("frozen", sweep.group)
    with GroupManager(
        sweep=sweep, pool=pool, pool_name="frozen", scratch=tmp_path, say=said.append
    ):
        spec = sweep.trial.model_dump_json()
        call(pool, "submit", Submission(trial_id="a", spec=spec, folder=str(folder)))
        first = call(pool, "receive", "a", TIMEOUT_S).evaluation
        assert first.number == 1
        call(pool, "go_on", "a", 1)
        wait_for_checkpoint(folder, after_step=first.step)
        before = group_pids(pool)
        os.kill(before[1], signal.SIGSTOP)
        assert call(pool, "receive", "a", TIMEOUT_S).evaluation.number == 2
        assert not set(before) & set(group_pids(pool))
        assert isinstance(call(pool, "outcome", "a", TIMEOUT_S), Delivery)
        begun = call(pool, "take_beginnings")
    assert [each.attempt for each in begun] == [1, 2]
    assert len(said) == 1
    assert said[0].startswith("group g0 is ended and started again: no progress for ")
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_trial_that_keeps_losing_its_group_fails_with_the_last_lines_of_its_log(
    small_sweep: Callable[..., Any], tmp_path: Path
) -> None:
    sweep = small_sweep(group={"max_attempts": 1})
    pool = start_pool("poison", sweep.group)
    with GroupManager(
        sweep=sweep, pool=pool, pool_name="poison", scratch=tmp_path, say=logging.warning
    ):
        call(pool, "submit", Submission(trial_id="a", spec=sweep.trial.model_dump_json()))
        assert call(pool, "receive", "a", TIMEOUT_S).evaluation.number == 1
        pids = group_pids(pool)
        worker = call(pool, "workers", "g0")[1]
        assert worker.log is not None
        with Path(worker.log).open("a") as log:
            log.write("the last line of rank 1\n")
        os.kill(pids[1], signal.SIGKILL)
        outcome = call(pool, "outcome", "a", TIMEOUT_S)
        call(pool, "go_on", "a", 1)
        assert call(pool, "receive", "a", TIMEOUT_S) == outcome
    assert outcome.reason.startswith("lost its group 1 time; the last time: ")
    assert "rank 1:\n" in outcome.log
    assert "the last line of rank 1" in outcome.log


def test_this_worker_knows_where_its_log_is() -> None:
    def look() -> Any:
        return this_worker(0)

    worker = ray.get(ray.remote(look).remote())
    assert worker.log is not None
    assert worker.log.endswith(".err")
