"""Storage that is locked by another process, or left in the middle of publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.files import temporaries_beside
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .damaging import locked
from .oracle import problems
from .sweeping import NAME, ONE_GROUP, command, start, to_end, wait_for
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]


NUM_TRIALS = 3
SETTINGS = {**ONE_GROUP, "search.num_trials": NUM_TRIALS}
LOCKED_S = 30.0


def resume(storage: Path) -> list[str]:
    return command(storage, "resume", NAME, "--address", "local")


def test_a_driver_that_died_while_it_published_an_adapter_publishes_it_whole(
    tmp_path: Path,
) -> None:
    mark = str(tmp_path)
    with recorded("crash in the middle of publishing an adapter") as row:
        failpoint = {"DROPLORA_FAILPOINT": "adapter-half-written:2"}
        code, output = to_end(start(command(tmp_path, **SETTINGS), mark, failpoint))
        assert code == -9, output
        row.injected = 1
        half = Ledger.open(tmp_path, NAME).records()[1]
        adapter = tmp_path / NAME / "trials" / half.trial_id / "adapter"
        assert half.state is TrialState.RUNNING
        assert not adapter.exists()
        [temporary] = temporaries_beside(adapter)
        written = {path.name for path in temporary.iterdir()}
        assert "adapter_model.safetensors" in written
        assert not written & {"README.md", "MANIFEST.json"}, "half of it"
        code, output = to_end(start(resume(tmp_path), mark))
        found = problems(tmp_path, NAME, NUM_TRIALS, mark)
        row.result = "; ".join(found) or "nothing lost"
        assert code == 0, output
        assert found == []
        assert temporaries_beside(adapter) == []


def test_a_study_that_another_process_locks_is_waited_for(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded(f"study.db locked for {LOCKED_S:.0f} s by another process") as row:
        driver = start(command(tmp_path, **SETTINGS), mark)
        wait_for(driver, "evaluated 1", trial=0)
        with locked(tmp_path / NAME / "study.db", LOCKED_S):
            row.injected = 1
        assert driver.poll() is None, "the driver met the lock"
        code, output = to_end(driver)
        found = problems(tmp_path, NAME, NUM_TRIALS, mark)
        row.result = "; ".join(found) or "waited; nothing lost"
        assert code == 0, output
        assert found == []
        num_complete = sum(
            trial.state.name == "COMPLETE" for trial in Ledger.open(tmp_path, NAME).study.trials
        )
        assert num_complete == NUM_TRIALS, "the study was told everything"
