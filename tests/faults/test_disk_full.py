"""A sweep whose storage, or Ray's temporary folder, runs full on a file system of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.raylets import running_cluster

from .damaging import fill
from .oracle import MARK, problems
from .sweeping import NAME, NUM_TINY, ONE_WORKER, TINY, command, start, to_end, wait_for
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = {**TINY, **ONE_WORKER}


@pytest.mark.parametrize(
    ("left_bytes", "code", "told"),
    [
        (32_000_000, 75, "interrupted by a full disk: {storage} has "),
        (0, 1, "{storage}"),
    ],
)
def test_a_storage_that_runs_full_stops_the_sweep_which_goes_on_when_there_is_room(
    small_disk: Path, left_bytes: int, code: int, told: str
) -> None:
    mark, storage = str(small_disk), small_disk / "results"
    with recorded(f"storage runs full, {left_bytes // 10**6} MB left") as row:
        driver = start(command(storage, **SETTINGS), mark)
        wait_for(driver, "started", trial=0)
        filler = fill(small_disk, left_bytes)
        row.injected = 1
        ended, output = to_end(driver)
        assert ended == code, output
        assert told.format(storage=storage) in output
        assert "Traceback" not in output
        interrupted = Ledger.open(storage, NAME).record
        if code == 75:
            assert interrupted.outcome is SweepOutcome.INTERRUPTED
        assert any(trial.state is TrialState.RUNNING for trial in interrupted.trials)
        filler.unlink()
        ended, output = to_end(start(command(storage, **SETTINGS), mark))
        assert ended == 0, output
        found = problems(storage, NAME, NUM_TINY, mark)
        row.result = "; ".join(found) or "stopped with the path, resumed, nothing lost"
    assert not found


@pytest.mark.parametrize("left_bytes", [32_000_000, 0])
def test_a_full_temporary_folder_of_ray_costs_no_result(
    small_disk: Path, tmp_path: Path, left_bytes: int
) -> None:
    """Ray's own processes may end without any room, and every driver with them, before a word."""
    mark = str(tmp_path)
    with recorded(f"Ray's temporary folder runs full, {left_bytes // 10**6} MB left") as row:
        with running_cluster([1], {MARK: mark}, folders=[small_disk]) as cluster:
            address, environment = cluster.address, cluster.environment
            driver = start(command(tmp_path, address=address, **SETTINGS), mark, environment)
            wait_for(driver, "started", trial=0)
            fill(small_disk, left_bytes)
            row.injected = 1
            code, output = to_end(driver)
            if left_bytes:
                assert code == 75, output
                assert f"interrupted by a full disk: {small_disk}/" in output
            assert code in (1, 75), output
            assert "Traceback" not in output
        resumed = start(command(tmp_path, "resume", NAME, "--address", "local"), mark)
        code, output = to_end(resumed)
        assert code == 0, output
        found = problems(tmp_path, NAME, NUM_TINY, mark)
        row.result = "; ".join(found) or "stopped, resumed, nothing lost"
    assert not found
