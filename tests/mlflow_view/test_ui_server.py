"""`ui` ends with all its processes when it is told to, however it is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.raylets import free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ledger.conftest import Driver

SERVE = """
import signal, sys
# As from a terminal: in the background of a shell, SIGINT is ignored, and so stays ignored.
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
from droplora_sweep.mlflow_view.ui import serve
sys.exit(serve([sys.executable, "-c", sys.argv[1]], {"GREETING": "hello"}))
"""
PARENT_OF_A_SLEEPER = """
import os, subprocess, sys
assert os.environ["GREETING"] == "hello"
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), sleeper.pid, flush=True)
sleeper.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_and_what_it_started_end_with_the_command(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVE, PARENT_OF_A_SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = [int(word) for word in process.stdout.readline().split()]
        assert len(started) == 2
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not [pid for pid in started if is_running(pid)]


def test_a_server_that_ends_by_itself_gives_its_exit_code() -> None:
    command = [sys.executable, "-c", SERVE, "raise SystemExit(7)"]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_the_ui_told_to_end_leaves_no_server(driver: Driver, tmp_path: Path) -> None:
    from droplora_sweep.mlflow_view.publisher import publish_all

    assert publish_all(driver.ledger).is_complete
    [port] = free_ports(1)
    command = [sys.executable, "-m", "droplora_sweep", "ui", "--no-login", "--port", str(port)]
    command += ["--storage", str(driver.ledger.storage)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        deadline = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        started = psutil.Process(process.pid).children(recursive=True)
        assert started
        process.terminate()
        assert process.wait(60) == 0
    assert not [each for each in started if is_running(each.pid)]
    assert not answers(port)


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True
