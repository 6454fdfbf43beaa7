"""The output of libraries goes to the sweep's log, in order, without secrets."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

from droplora_sweep.present.terminal.noise import NoiseLog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CANARY = "tulip-in-march"


def test_noise_of_any_origin_is_kept_in_order_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    path = tmp_path / "driver.log"
    with NoiseLog() as log:
        first = log.path
        os.write(1, f"before: {CANARY}\n".encode())
        log.move_to(path)
        os.write(2, b"50 %\r100 %\rat http://ann:pw@host/\n")
        subprocess.run([sys.executable, "-c", f"print('a child: {CANARY}')"], check=True)
        os.write(2, b"\xff torn")
    assert path.read_bytes() == (
        b"before: [redacted]\n50 %\r100 %\rat http://ann:[redacted]@host/\n"
        b"a child: [redacted]\n\xff torn"
    )
    assert not first.exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_cannot_be_written_holds_nobody_up() -> None:
    with NoiseLog() as log:
        place = log.path
        place.unlink()
        place.symlink_to("/dev/full")
        for _ in range(4):
            os.write(2, b"a-b.c " * 10_000 + b"\n")
    place.unlink()


def test_signals_to_the_whole_family_of_a_driver_leave_its_log_alone() -> None:
    # Servers that other tests share may be running.
    others = psutil.Process().children()
    with NoiseLog() as log:
        place = log.path
        os.write(1, b"before\n")
        while not place.read_bytes():
            time.sleep(0.05)
        [reader] = [one for one in psutil.Process().children() if one not in others]
        for each in (signal.SIGTERM, signal.SIGINT):
            reader.send_signal(each)
        os.write(1, b"after\n")
    assert place.read_bytes() == b"before\nafter\n"
    place.unlink()


def test_what_the_screen_refuses_is_left_out_and_told_in_the_log(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from droplora_sweep.present.terminal.noise import NoiseLog\n"
        "with NoiseLog() as log:\n"
        "    for number in range(3):\n"
        "        log.console.print(f't000{number} started')\n"
        "    log.move_to(Path(sys.argv[1]))\n"
    )
    path = tmp_path / "driver.log"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - it is no file to be made
        done = subprocess.run([sys.executable, "-c", script, path], stdout=full, check=False)
    assert done.returncode == 0
    assert (
        path.read_text().count("the output cannot be written, the sweep continues without: ") == 1
    )
