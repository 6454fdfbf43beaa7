"""A real sweep whose trials fail, and get another go while it runs and after its end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.ledger.log import VARIABLE
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState
from tests.faults.oracle import problems
from tests.faults.sweeping import (
    NAME,
    NUM_TINY,
    ONE_GROUP,
    TINY,
    actors,
    command,
    kill_all,
    saved_steps,
    start,
    to_end,
    trials,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1500)]

SETTINGS = {**TINY, **ONE_GROUP, "group.max_attempts": 1}
"""One trial after the other; one that loses its group has failed."""
LOST = "lost its group 1 time; the last time: "


def test_failed_trials_get_another_go_in_the_running_sweep_and_after_its_end(
    call: Any, tmp_path: Path
) -> None:
    storage = tmp_path / "results"
    mark, where = str(tmp_path), ("--storage", storage)

    def state(number: int) -> TrialState | None:
        return next((each.state for each in trials(storage) if each.number == number), None)

    def fail(number: int) -> None:
        wait_until(lambda: bool(saved_steps(storage, number)), driver, "a first step")
        kill_all(actors(mark, "TrainWorker")[-1:])
        wait_until(lambda: state(number) is TrialState.FAILED, driver, "the failure")

    driver = start(command(storage, **SETTINGS), mark)
    fail(0)
    [first, *_] = trials(storage)
    code, said, _ = call("retry", NAME, "t0000", *where)
    assert (code, said) == (0, f"{first.trial_id}: is run again, next\n")
    code, _, complaint = call("retry", NAME, "t0000", *where)
    assert (code, complaint) == (2, f"TRIAL: must have failed, got {first.trial_id}, running\n")
    # The retry has taken the number 2 of the study, in which no trial can run twice.
    fail(3)
    code, output = to_end(driver)
    assert code == 3, output
    ledger = Ledger.open(storage, NAME)
    retried, _, lost = ledger.records()
    assert (retried.state, lost.state) == (TrialState.COMPLETE, TrialState.FAILED)
    assert (retried.trial_id, retried.fingerprint) == (first.trial_id, first.fingerprint)
    [failure] = retried.failures
    assert failure.reason is not None
    assert failure.reason.startswith(LOST)
    assert [each.number for each in retried.evaluations] == [1, 2]
    # Optuna has it under its number, with what came of it, and no trial as number 2.
    found = {trial.number: trial.state.name for trial in ledger.study.trials}
    assert found == {0: "COMPLETE", 1: "COMPLETE", 2: "FAIL", 3: "FAIL"}

    # The sweep is over; a driver that is killed between the mark and the run loses nothing.
    killed = start(command(storage, "retry", NAME), mark, {VARIABLE: "trial-retried"})
    code, output = to_end(killed)
    assert code == -signal.SIGKILL, output
    assert Ledger.open(storage, NAME).trial(lost.trial_id).is_to_be_retried
    code, output = to_end(start(command(storage, "resume", NAME), mark))
    assert code == 0, output
    assert "1 unfinished" in output
    ledger = Ledger.open(storage, NAME)
    assert all(trial.state is TrialState.COMPLETE for trial in ledger.records())
    assert ledger.records()[:2] == [retried, ledger.records()[1]]
    assert [len(trial.failures) for trial in ledger.records()] == [1, 0, 1]
    found = {trial.number: trial.state.name for trial in ledger.study.trials}
    assert found == {0: "COMPLETE", 1: "COMPLETE", 2: "FAIL", 3: "COMPLETE"}
    assert problems(storage, NAME, NUM_TINY) == []
    code, said, _ = call("retry", NAME, *where)
    assert (code, said) == (0, f"{NAME}: has no failed trial to retry; nothing to do\n")
