"""A ledger that is opened again to be written."""

from __future__ import annotations

import os
import signal

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.log import FAILPOINTS, failpoint
from droplora_sweep.ledger.reader import Ledger, has_sweep
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.spec import SweepSpec
from tests.recording import evaluated, planned


def drive(storage):
    """A sweep of one trial, as a driver writes it."""
    sweep = SweepSpec(name="demo")
    name = "t0000-00000001"
    LedgerWriter.create(storage, sweep).close()
    ledger = LedgerWriter.resume(storage, sweep)
    ledger.trial_started(planned(name, 0, "00000001", sweep.trial, {}))
    ledger.trial_reported(name, evaluated(1, 10, {"val/mean": 0.5}, num_evaluations=1))
    failpoint("trial-ended")
    ledger.trial_finished(name, TrialState.COMPLETE, adapter_files={"a": b"1"}, results=[])
    ledger.trial_tested(name, [])
    ledger.sweep_finished(SweepOutcome.COMPLETE)
    ledger.close()


def drive_in_another_process(storage):
    """Its wait status; a fork costs less than an interpreter."""
    pid = os.fork()
    if pid == 0:
        try:
            drive(storage)
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_a_second_start_goes_on_where_the_first_one_ended(driver):
    finished, running = driver.run(0), driver.start(1)
    driver.ledger.sweep_finished(SweepOutcome.INTERRUPTED, reason="SIGTERM")
    driver.ledger.close()
    longer = driver.sweep.model_copy(
        update={"search": driver.sweep.search.model_copy(update={"num_trials": 99})}
    )
    ledger = LedgerWriter.resume(driver.ledger.storage, longer, versions={"torch": "2.13.0"})
    record = ledger.record
    assert (record.num_starts, record.outcome, record.reason) == (2, None, None)
    assert record.spec["search"]["num_trials"] == 99
    assert record.sweep_id == driver.ledger.record.sweep_id
    assert ledger.trial(finished).state is TrialState.COMPLETE
    driver.ledger = ledger
    assert driver.start(1) == running
    assert ledger.trial(running).attempts == 2
    driver.finish(running)
    ledger.close()
    assert Ledger.open(ledger.storage, "demo").record == ledger.record


@pytest.mark.parametrize("num_bytes", [1, 5, 40])
def test_a_torn_last_line_is_cut_off_and_told(driver, num_bytes):
    name = driver.run(0)
    driver.ledger.close()
    path = driver.ledger.directory / "events.jsonl"
    size = path.stat().st_size
    os.truncate(path, size - num_bytes)
    ledger = LedgerWriter.resume(driver.ledger.storage, driver.sweep)
    ledger.close()
    again = Ledger.open(ledger.storage, "demo")
    assert again.torn is None
    if num_bytes == 1:
        assert ledger.torn is None, "a line that lacks only its end is whole"
        assert again.trial(name).state is TrialState.COMPLETE
    else:
        assert ledger.torn.startswith(f"{path}:5: must end in ")
        assert again.trial(name).state is TrialState.RUNNING


def test_a_sweep_that_has_a_driver_is_not_resumed(driver):
    with pytest.raises(
        SweepError, match=r"demo: must have one driver, and is already running on .*, pid "
    ):
        LedgerWriter.resume(driver.ledger.storage, driver.sweep)


def test_a_damaged_log_is_refused_and_the_lease_given_back(driver):
    driver.run(0)
    driver.ledger.close()
    path = driver.ledger.directory / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b"trial_started", b"trial_startet"))
    with pytest.raises(SweepError, match=r"events.jsonl:2: must end in "):
        LedgerWriter.resume(driver.ledger.storage, driver.sweep)
    path.write_bytes(path.read_bytes().replace(b"trial_startet", b"trial_started"))
    assert Ledger.open(driver.ledger.storage, "demo").holder is None


@pytest.mark.parametrize("point", FAILPOINTS)
def test_a_driver_killed_between_any_two_steps_leaves_a_sweep_that_goes_on(
    tmp_path, point, monkeypatch
):
    monkeypatch.setenv("DROPLORA_FAILPOINT", point)
    assert os.WTERMSIG(drive_in_another_process(tmp_path)) == signal.SIGKILL
    monkeypatch.delenv("DROPLORA_FAILPOINT")
    if point == "sweep-folder-made":
        assert not has_sweep(tmp_path, "demo")
        drive(tmp_path)
        assert Ledger.open(tmp_path, "demo").record.outcome is SweepOutcome.COMPLETE
        return
    ledger = Ledger.open(tmp_path, "demo")
    assert ledger.torn is None
    assert ledger.holder is None, "the dead driver does not hold it"
    states = [trial.state for trial in ledger.records()]
    done = point in FAILPOINTS[FAILPOINTS.index("trial-finished") :]
    started = point not in ("sweep-started", "sweep-resumed", "trial-folder-made")
    assert states == [TrialState.COMPLETE if done else TrialState.RUNNING] * started


def test_a_failpoint_can_wait_for_a_later_time(tmp_path, monkeypatch):
    monkeypatch.setenv("DROPLORA_FAILPOINT", "trial-reported:2")
    assert drive_in_another_process(tmp_path) == 0
