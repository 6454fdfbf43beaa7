"""A sweep whose storage runs full, on a file system of its own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.tracking import Ledger, SweepOutcome, TrialState

from .oracle import problems
from .sweeping import NUM_TRIALS, command, start
from .table import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.faults, pytest.mark.ray, pytest.mark.slow]

SIZE = "160m"
TIMEOUT_S = 300.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


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
    storage = small_disk / "results"
    with recorded(f"storage runs full, {left_bytes // 10**6} MB left") as row:
        driver = start(command(storage), mark="disk")
        assert driver.stdout is not None
        lines = []
        for line in driver.stdout:
            lines.append(line)
            if " started " in line and not row.injected:
                row.injected = 1
                fill(small_disk / "ballast", left_bytes)
        assert driver.wait(TIMEOUT_S) == code, "".join(lines)
        assert told.format(storage=storage) in "".join(lines[2:])
        assert "Traceback" not in "".join(lines)
        interrupted = Ledger.open(storage, "quickstart").record
        if code == 75:
            assert interrupted.outcome is SweepOutcome.INTERRUPTED
        assert any(trial.state is TrialState.RUNNING for trial in interrupted.trials)
        (small_disk / "ballast").unlink()
        resumed = start(command(storage), mark="disk")
        output, _ = resumed.communicate(timeout=TIMEOUT_S)
        assert resumed.returncode == 0, output
        found = problems(storage, "quickstart", NUM_TRIALS)
        row.result = "; ".join(found) or "stopped with the path, resumed, nothing lost"
    assert not found


def fill(path: Path, left_bytes: int) -> None:
    """Write until so much is left."""
    usage = os.statvfs(path.parent)
    free = usage.f_bavail * usage.f_frsize - left_bytes
    with path.open("wb") as file:
        try:
            for _ in range(0, free, 2**20):
                file.write(bytes(min(2**20, free)))
        except OSError:
            assert not left_bytes, "the disk has less room than it says"
