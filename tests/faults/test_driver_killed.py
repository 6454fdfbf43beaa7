"""A driver killed in the middle of a sweep, and the sweep resumed from its storage alone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.tracking import Ledger, TrialState

from .oracle import problems
from .sweeping import NUM_TRIALS, command, start
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_sweep_whose_driver_was_killed_is_resumed_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    mark = str(tmp_path)
    with recorded("driver killed by SIGKILL in mid-sweep") as row:
        driver = start(command(tmp_path), mark)
        assert driver.stdout is not None
        for line in driver.stdout:
            if " evaluated 1" in line and line.startswith("t0001-"):
                break
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
        assert f"goes on: {len(finished)} trials are finished" in output
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
