"""A driver killed in the middle of a sweep, and the sweep resumed from its storage alone."""

from __future__ import annotations

import random
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.log import VARIABLE
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .oracle import problems
from .sweeping import (
    NAME,
    NUM_TRIALS,
    ONE_WORKER,
    TIMEOUT_S,
    TINY,
    command,
    ray_folders,
    see_its_end,
    start,
    wait_until,
)
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

SEED = 5
NUM_KILLS = 10
LATEST_EVENT = 6
"""A driver that goes on writes five events until the trial that it resumed has ended."""
LATEST_S = 2.0
COMMIT_STEPS = (
    "trial-folder-made",
    "trial-started",
    "trial-reported",
    "trial-ended",
    "adapter-published",
    "results-written",
    "trial-finished",
    "sweep-finished",
)


def test_a_sweep_whose_driver_was_killed_is_resumed_and_nothing_is_done_twice(
    tmp_path: Path, left_folders: set[Path]
) -> None:
    mark = str(tmp_path)
    with recorded("driver killed by SIGKILL in mid-sweep") as row:
        driver = start(command(tmp_path), mark)
        assert driver.stdout is not None
        for line in driver.stdout:
            if " evaluated 1" in line and line.startswith("t0001-"):
                break
        left_folders |= ray_folders(mark)
        driver.kill()
        driver.communicate()
        row.injected = 1
        before = Ledger.open(tmp_path, "quickstart")
        assert before.holder is None
        finished = [trial for trial in before.records() if trial.is_finished]
        assert [trial.state for trial in before.records()][-1] is TrialState.RUNNING

        resumed = start(command(tmp_path, "resume", "quickstart", "--address", "local"), mark)
        output, _ = resumed.communicate(timeout=400)
        assert resumed.returncode == 0, output
        assert re.search(rf"resumes: {len(finished)} trials? finished, \d+ unfinished", output)
        found = problems(tmp_path, "quickstart", NUM_TRIALS, mark)
        row.result = "nothing lost" if not found else "; ".join(found)
        assert found == []
        after = Ledger.open(tmp_path, "quickstart")
        assert after.records()[: len(finished)] == finished, "finished trials are as they were"
        assert after.record.num_starts == 2


def test_a_sweep_told_to_stop_ends_in_order_and_goes_on(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("SIGTERM, then `stop` from elsewhere") as row:
        for number, stop in enumerate(("signal", "stop")):
            words = () if number == 0 else ("resume", "quickstart", "--address", "local")
            driver = start(command(tmp_path, *words), mark)
            assert driver.stdout is not None
            wanted = "t0000-" if number == 0 else "t0001-"
            for line in driver.stdout:
                if line.startswith(wanted):
                    break
            if stop == "signal":
                driver.send_signal(signal.SIGTERM)
            else:
                asked = start(command(tmp_path, "stop", "quickstart"), mark)
                assert "asked its driver to stop" in asked.communicate(timeout=60)[0]
            output, _ = driver.communicate(timeout=300)
            row.injected += 1
            assert driver.returncode == 75, output
            assert "resumable: droplora-sweep resume quickstart --storage" in output
        resumed = start(command(tmp_path, "resume", "quickstart", "--address", "local"), mark)
        output, _ = resumed.communicate(timeout=400)
        assert resumed.returncode == 0, output
        found = problems(tmp_path, "quickstart", NUM_TRIALS, mark)
        row.result = "nothing lost" if not found else "; ".join(found)
        assert found == []


def test_a_driver_killed_again_and_again_at_random_instants_loses_nothing(
    tmp_path: Path, left_folders: set[Path]
) -> None:
    mark, chance = str(tmp_path), random.Random(SEED)
    num_trials = 10
    again = command(tmp_path, **{**TINY, **ONE_WORKER, "search.num_trials": num_trials})
    events = tmp_path / NAME / "events.jsonl"

    def num_events() -> int:
        return events.read_bytes().count(b"\n") if events.is_file() else 0

    with recorded(f"driver SIGKILL at random instants, seed {SEED}") as row:
        for _ in range(NUM_KILLS):
            wanted = num_events() + chance.randint(0, LATEST_EVENT)
            driver = start(again, mark)
            wait_until(lambda wanted=wanted: num_events() >= wanted, driver, f"{wanted} events")
            time.sleep(chance.uniform(0, LATEST_S))
            left_folders |= ray_folders(mark)
            driver.kill()
            output, _ = driver.communicate(timeout=60)
            assert driver.returncode == -signal.SIGKILL, output
            row.injected += 1
        see_its_end(start(again, mark), tmp_path, row, num_planned=num_trials, mark=mark)


def test_a_whole_sweep_killed_between_the_steps_of_a_commit_loses_nothing(
    tmp_path: Path, left_folders: set[Path]
) -> None:
    mark = str(tmp_path)
    again = command(tmp_path, **TINY, **ONE_WORKER)
    with recorded("driver of a whole sweep killed at each commit step") as row:
        for point in COMMIT_STEPS:
            driver = start(again, mark, {VARIABLE: point})
            deadline = time.monotonic() + TIMEOUT_S
            while driver.poll() is None:
                assert time.monotonic() < deadline, f"{point} is not reached"
                left_folders |= ray_folders(mark)
                time.sleep(1)
            output, _ = driver.communicate()
            assert driver.returncode == -signal.SIGKILL, f"{point}: {output}"
            row.injected += 1
        last = start(again, mark)
        output = see_its_end(last, tmp_path, row, mark=mark)
        assert "finished, 3 trials; nothing to do" in output
