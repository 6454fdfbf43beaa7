"""Ways out of the command line that are nobody's fault: Ctrl-C at once, output that has no room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from droplora_sweep.ledger.writer import LedgerWriter
from tests.ledger.conftest import Driver, make_sweep

FULL = Path("/dev/full")
ROOT = Path(__file__).parents[1]
QUICKSTART = str(ROOT / "search_spaces" / "quickstart.yaml")
CTRL_C = """
import signal, sys
from droplora_sweep.cli import main

# A timer of CPU time: what has been imported by then does not depend on the machine's load.
signal.signal(signal.SIGPROF, lambda *_: signal.raise_signal(signal.SIGINT))
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[1]))
main(sys.argv[2:])
"""


@pytest.mark.parametrize("after_s", [0.01, 0.15, 0.4, 0.5, 0.6])
def test_ctrl_c_in_the_first_second_is_one_line(after_s: float) -> None:
    process = subprocess.run(
        [sys.executable, "-c", CTRL_C, str(after_s), "validate", QUICKSTART],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    ended = (process.returncode, process.stderr)
    if after_s > 0.1:
        assert ended in ((130, "interrupted by Ctrl-C\n"), (0, ""))
    else:
        assert ended == (130, "interrupted by Ctrl-C\n")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage folder with one finished sweep."""
    sweep = make_sweep("demo")
    driver = Driver(LedgerWriter.create(tmp_path, sweep, data_digests={}, versions={}), sweep)
    driver.run(0)
    driver.ledger.close()
    return tmp_path


def run(*arguments: str, **streams: Any) -> tuple[int, str]:
    """Exit code and complaints of a command."""
    process = subprocess.run(
        [sys.executable, "-m", "droplora_sweep", *arguments],
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **streams},
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    return process.returncode, process.stderr


@pytest.mark.parametrize("command", [("status", "demo"), ("--help",)])
def test_output_to_a_full_disk_is_one_line(storage: Path, command: tuple[str, ...]) -> None:
    where = () if command == ("--help",) else ("--storage", str(storage))
    with FULL.open("w") as full:
        ended = run(*command, *where, stdout=full)
    assert ended == (1, "cannot write the output: No space left on device\n")


def test_complaints_to_a_full_disk_leave_the_exit_code(storage: Path) -> None:
    command = ("status", "nope", "--storage", str(storage))
    with FULL.open("w") as full:
        assert run(*command, stderr=full)[0] == 1


def test_a_reader_that_has_seen_enough_is_no_fault(storage: Path) -> None:
    """As ``| head -1`` does: it closes the pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    _, complaints = run("status", "demo", "--storage", str(storage), stdout=writer)
    os.close(writer)
    assert complaints == ""
