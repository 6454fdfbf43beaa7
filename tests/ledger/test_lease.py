"""One driver per sweep: who is refused, who succeeds a dead one, and what a lost lease stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.lease import (
    EXPIRY_S,
    HEARTBEAT_S,
    DriverLease,
    Found,
    Holder,
    LeaseLostError,
    Process,
    find_holder,
    living_holder,
    this_process,
)
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ELSEWHERE = Process("other-host", 7, 100, "another boot")
HOLDER = Holder(ELSEWHERE, "token", NOW, NOW)

TAKE_AND_WAIT = """
import sys, time
from pathlib import Path
from droplora_sweep.ledger.lease import DriverLease
DriverLease.take(Path(sys.argv[1]))
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "driver.lease"


@pytest.fixture
def other_driver(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease."""
    command = [sys.executable, "-c", TAKE_AND_WAIT, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.wait()


def age(path: Path, seconds: float) -> None:
    """Make the lease look as if it had been written so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize(
    ("found", "is_held"),
    [
        (Found(None, 0.0), False),
        (Found(HOLDER, 0.0), True),
        (Found(HOLDER, EXPIRY_S - 1), True),
        (Found(HOLDER, EXPIRY_S + 1), False),
        (Found(HOLDER, 0.0, is_gone=True), False),
        (Found(HOLDER, -3600.0), True),
    ],
)
def test_a_lease_is_held_until_it_expires_or_its_process_is_seen_to_be_gone(
    found: Found, is_held: bool
) -> None:
    assert (living_holder(found) is not None) is is_held


def test_several_heartbeats_may_be_missed() -> None:
    assert EXPIRY_S >= 3 * HEARTBEAT_S


def test_a_second_driver_is_refused_and_told_who_holds_it_and_since_when(
    path: Path, other_driver: subprocess.Popen[str]
) -> None:
    with pytest.raises(SweepError) as caught:
        DriverLease.take(path)
    running = rf"is already running on \S+, pid {other_driver.pid}, since 20\d\d-"
    pattern = f"must have one driver, and {running}"
    assert re.search(pattern, str(caught.value))


def test_a_driver_that_was_killed_is_succeeded_at_once(
    path: Path, other_driver: subprocess.Popen[str]
) -> None:
    other_driver.kill()
    # Not waited for: a zombie writes no more either.
    os.waitid(os.P_PID, other_driver.pid, os.WEXITED | os.WNOWAIT)
    assert find_holder(path) is None
    DriverLease.take(path).release()


def test_a_driver_that_was_frozen_is_succeeded_once_its_lease_is_old(
    path: Path, other_driver: subprocess.Popen[str]
) -> None:
    other_driver.send_signal(signal.SIGSTOP)
    holder = find_holder(path)
    assert holder is not None
    assert holder.process.pid == other_driver.pid
    age(path, EXPIRY_S + 1)
    DriverLease.take(path).release()


def test_a_process_with_a_recycled_pid_is_another_one() -> None:
    me = this_process()
    assert not me.is_gone()
    assert me.started is not None
    assert replace(me, started=me.started - 1).is_gone()


def test_nothing_is_known_of_processes_elsewhere() -> None:
    assert not ELSEWHERE.is_gone()


def test_a_lease_given_back_is_free(path: Path) -> None:
    lease = DriverLease.take(path)
    assert find_holder(path) == lease.holder
    lease.release()
    assert find_holder(path) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_lease_is_free(path: Path) -> None:
    path.write_bytes(b'{"process": {"host"')
    assert find_holder(path) is None
    DriverLease.take(path).release()


def test_a_sweep_without_a_lease_file_has_no_driver(path: Path) -> None:
    assert find_holder(path) is None


def test_a_driver_that_lost_its_lease_writes_nothing_more(driver) -> None:  # type: ignore[no-untyped-def]
    name = driver.start(0)
    events = driver.ledger.directory / "events.jsonl"
    before = events.read_bytes()
    lease = driver.ledger.directory / "driver.lease"
    age(lease, EXPIRY_S + 1)
    successor = DriverLease.take(lease)
    for write in (lambda: driver.report(name, 1), lambda: driver.finish(name)):
        with pytest.raises(LeaseLostError, match=r"must name this driver, got .*stops writing"):
            write()
    assert events.read_bytes() == before
    assert not (driver.ledger.directory / "trials" / name / "adapter").exists()
    driver.ledger.close()
    assert find_holder(lease) == successor.holder
    successor.release()
    assert Ledger.open(driver.ledger.storage, "demo").trial(name).state is TrialState.RUNNING
