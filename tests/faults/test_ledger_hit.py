"""Drivers killed, doubled and frozen while they write a ledger; no Ray takes part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from droplora_sweep.ledger.lease import EXPIRY_S
from droplora_sweep.ledger.log import FAILPOINTS, VARIABLE
from droplora_sweep.ledger.reader import Ledger

from .ledger_driver import RATES
from .oracle import problems
from .sweeping import ROOT, command, start
from .table import recorded

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("ledger_driver.py")
NAME = "written"
TIMEOUT_S = 120.0


def write(
    storage: Path, adapter: Path, *options: str, name: str = NAME, stop_at: str | None = None
) -> subprocess.Popen[str]:
    """A driver that writes the sweep, or what is left of it; it may die at a failpoint."""
    variables = {} if stop_at is None else {VARIABLE: stop_at}
    return subprocess.Popen(
        [sys.executable, PROGRAM, str(storage), name, "--adapter", str(adapter), *options],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )


def test_one_sweep_survives_a_kill_between_every_two_steps_of_a_commit(
    tmp_path: Path, adapter: Path
) -> None:
    with recorded("driver killed between every two commit steps") as row:
        for point in FAILPOINTS:
            driver = write(tmp_path, adapter, "--publishes", stop_at=point)
            output, _ = driver.communicate(timeout=TIMEOUT_S)
            assert driver.returncode == -signal.SIGKILL, f"{point}: {output}"
            row.injected += 1
        last = write(tmp_path, adapter, "--publishes")
        output, _ = last.communicate(timeout=TIMEOUT_S)
        assert last.returncode == 0, output
        found = problems(tmp_path, NAME, len(RATES))
        row.result = "nothing lost" if not found else "; ".join(found)
        assert found == []
        # The sweep began once the first driver that got so far had made its folder.
        assert Ledger.open(tmp_path, NAME).record.num_starts == len(FAILPOINTS)


def test_a_second_driver_is_refused_and_told_who_holds_the_sweep(
    tmp_path: Path, adapter: Path
) -> None:
    with recorded("second driver while the first one lives") as row:
        first = write(tmp_path, adapter, "--waits", "--publishes")
        assert first.stdout is not None
        assert first.stdout.readline() == "before trial 0\n"
        events = tmp_path / NAME / "events.jsonl"
        before = events.read_bytes()
        # Both ways in: the command line, and a program that goes straight for the ledger.
        second = write(tmp_path, adapter)
        refused = start(command(tmp_path, "resume", NAME), str(tmp_path))
        for other in (second, refused):
            output, _ = other.communicate(timeout=TIMEOUT_S)
            row.injected += 1
            assert other.returncode == 1
            wanted = f"{NAME}: must have one driver, and is already running on "
            assert wanted in " ".join(output.split())
            assert f", pid {first.pid}, since 20" in " ".join(output.split())
        assert events.read_bytes() == before
        output, _ = first.communicate("\n" * len(RATES), timeout=TIMEOUT_S)
        assert first.returncode == 0, output
        found = problems(tmp_path, NAME, len(RATES))
        row.result = "refused, exit 1; nothing lost" if not found else "; ".join(found)
        assert found == []


def test_a_frozen_driver_is_succeeded_when_its_lease_expires_and_then_writes_nothing(
    tmp_path: Path, adapter: Path
) -> None:
    with recorded("driver frozen by SIGSTOP, succeeded, continued") as row:
        frozen = write(tmp_path, adapter, "--waits")
        assert frozen.stdout is not None
        assert frozen.stdin is not None
        frozen.stdin.write("\n")
        frozen.stdin.flush()
        assert [frozen.stdout.readline() for _ in range(2)][1] == "before trial 1\n"
        frozen.send_signal(signal.SIGSTOP)
        row.injected = 1
        frozen_at = time.monotonic()
        while True:
            successor = write(tmp_path, adapter, "--publishes")
            output, _ = successor.communicate(timeout=TIMEOUT_S)
            if successor.returncode == 0:
                break
            assert f", pid {frozen.pid}, since " in output
            assert time.monotonic() - frozen_at < 3 * EXPIRY_S
            time.sleep(1)
        events = tmp_path / NAME / "events.jsonl"
        before = events.read_bytes()
        frozen.send_signal(signal.SIGCONT)
        output, _ = frozen.communicate("\n" * len(RATES), timeout=TIMEOUT_S)
        assert frozen.returncode == 1
        assert "must name this driver, got no driver; this driver stops writing" in output
        assert events.read_bytes() == before
        found = problems(tmp_path, NAME, len(RATES))
        row.result = "it writes no more; nothing lost" if not found else "; ".join(found)
        assert found == []


def test_four_processes_publish_to_a_fresh_mlflow_store_at_once(
    tmp_path: Path, adapter: Path
) -> None:
    with recorded("four processes open a fresh MLflow store at once") as row:
        names = [f"written-{number}" for number in range(4)]
        drivers = [write(tmp_path, adapter, "--publishes", "--waits", name=name) for name in names]
        for driver in drivers:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "before trial 0\n"
        for driver in drivers:
            output, _ = driver.communicate("\n" * len(RATES), timeout=2 * TIMEOUT_S)
            assert driver.returncode == 0, output
            row.injected += 1
        found = [each for name in names for each in problems(tmp_path, name, len(RATES))]
        row.result = "nothing lost" if not found else "; ".join(found)
        assert found == []
