"""The actors beside a group, killed one kind after the other: Ray Train's helpers, the pool."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.progress import read_progress
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.raylets import running_cluster

from .sweeping import (
    NAME,
    ONE_WORKER,
    TINY,
    actors,
    command,
    kill_all,
    saved_steps,
    see_its_end,
    start,
    to_end,
    trials,
    wait_until,
)
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

HELPERS = (
    "SynchronizationActor",
    "PlacementGroupCleaner",
    "PreemptionWatcher",
    "_AutoscalingCoordinatorActor",
)
"""The actors that Ray Train starts for a group beside its workers."""
WHOLE_MACHINE = {**TINY, **ONE_WORKER, "group.cpus_per_worker": len(os.sched_getaffinity(0))}
"""A group that starts again has no room beside what the last one may have left reserved."""


def has_trials(storage: Path) -> bool:
    """Return whether a driver has reported the step of a trial."""
    found = read_progress(storage / NAME)
    return found is not None and bool(found.trials)


def test_a_group_that_loses_its_controller_is_started_again(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with (
        recorded(
            "Ray Train's helpers, then a group's controller killed, beside another Ray"
        ) as row,
        running_cluster([0]),
    ):
        driver = start(command(tmp_path, **WHOLE_MACHINE), mark)
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
        helpers = [one for name in HELPERS for one in actors(mark, name)]
        assert len(helpers) >= len(HELPERS) - 1, "the watcher may not have started yet"
        row.injected += kill_all(helpers)
        wait_until(lambda: bool(saved_steps(tmp_path, 1)), driver, "it goes on without them")
        row.injected += kill_all(actors(mark, "TrainController"))
        output = " ".join(see_its_end(driver, tmp_path, row, mark=mark).split())
        reason = "its Ray Train controller died: its worker process has died"
        assert f"group g0 is started again: {reason}" in output
        assert " resumes from step " in output
        assert all(trial.state is not TrialState.FAILED for trial in trials(tmp_path))


def test_a_sweep_that_loses_its_pool_ends_resumable(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("the pool of trials and groups killed") as row:
        driver = start(command(tmp_path, **TINY, **ONE_WORKER), mark)
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
        wait_until(lambda: has_trials(tmp_path), driver, "its progress is told")
        code, told = to_end(start(command(tmp_path, "status", NAME), mark))
        assert code == 0, told
        assert re.search(r"running, step \d+/\d+", " ".join(told.split())), told
        row.injected += kill_all(actors(mark, "_Pool"))
        output, _ = driver.communicate(timeout=300)
        assert driver.returncode == 75, output
        assert "Traceback" not in output
        said = " ".join(output.split())
        assert "interrupted by the death of the pool, the process on the head node in" in said
        assert f"resumable: droplora-sweep resume {NAME}" in said
        assert Ledger.open(tmp_path, NAME).record.outcome is SweepOutcome.INTERRUPTED
        resumed = start(command(tmp_path, "resume", NAME, "--address", "local"), mark)
        output = see_its_end(resumed, tmp_path, row, mark=mark)
        assert " resumes from step " in " ".join(output.split())
        assert all(trial.state is not TrialState.FAILED for trial in trials(tmp_path))
