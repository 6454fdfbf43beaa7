"""`status --watch`: a view that changes on a terminal, blocks elsewhere; until the sweep's end."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from droplora_sweep.ledger.following import Follower
from droplora_sweep.ledger.lease import find_holder
from droplora_sweep.ledger.progress import LiveProgress, TimeLeft, TrialProgress, write_progress
from droplora_sweep.present.terminal.status import Status, watch_status
from droplora_sweep.records.layout import EVENTS, LEASE
from droplora_sweep.records.trial import SweepOutcome
from tests.ledgers import Driver, make_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ADAPTER = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}


def watched(storage: Path, turns: Sequence[Callable[[], object]], console: Console) -> list[Status]:
    """Statuses that stay, while one turn is taken between each look and the next."""
    left, shown = list(turns), []

    def pause(seconds: float) -> None:
        assert seconds > 0
        left.pop(0)()

    watch_status(Follower(storage, "demo"), console, shown.append, pause=pause)
    assert left == []
    return shown


def nothing() -> None:
    pass


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path, make_sweep("demo"), ADAPTER)


def test_elsewhere_than_on_a_terminal_it_says_what_happened_and_ends(
    driver: Driver, tmp_path: Path
) -> None:
    names: list[str] = []
    moving = LiveProgress({}, TimeLeft(60.0))
    turns: list[Callable[[], object]] = [
        lambda: names.append(driver.start(0.2)),
        nothing,
        lambda: write_progress(tmp_path / "demo", moving),
        lambda: driver.report(names[0]),
        lambda: driver.finish(names[0]),
        driver.end,
    ]
    shown = watched(tmp_path, turns, Console(file=io.StringIO(), width=120))
    # Nothing is said anew where nothing happened, or steps alone moved on.
    assert [status.is_running for status in shown] == [True] * 4 + [False]
    assert [len(status.tables[0].rows) for status in shown] == [0, 1, 1, 1, 1]
    states = [status.tables[0].rows[0].cells[-1].text for status in shown[1:]]
    assert states == ["running", "running", "complete", "complete"]
    assert shown[2].tables[0].rows[0].cells[2].text != shown[1].tables[0].rows[0].cells[2].text
    assert all("demo: running on " in status.ends[-1] for status in shown[:-1])
    assert shown[-1].ends == ("demo: complete",)


def test_an_interrupted_sweep_is_the_end_too(driver: Driver, tmp_path: Path) -> None:
    driver.ledger.sweep_finished(SweepOutcome.INTERRUPTED, reason="SIGTERM")
    driver.ledger.close()
    [status] = watched(tmp_path, [], Console(file=io.StringIO(), width=120))
    [line] = status.ends
    assert line.startswith("demo: interrupted, SIGTERM; resumable: droplora-sweep resume demo ")


def test_what_cannot_be_read_for_a_while_is_told_and_survived(
    driver: Driver, tmp_path: Path
) -> None:
    log = tmp_path / "demo" / EVENTS
    driver.run(0.2)
    whole = log.read_bytes()
    turns: list[Callable[[], object]] = [
        lambda: log.write_bytes(whole.replace(b"trial_started", b"trial_startled", 1)),
        nothing,
        lambda: log.write_bytes(whole),
        driver.end,
    ]
    shown = watched(tmp_path, turns, Console(file=io.StringIO(), width=120))
    problems = [line for status in shown for line in status.ends if "not as of now" in line]
    assert len(shown) == 4
    [problem] = problems
    assert problem in shown[1].ends
    assert problem.startswith(f"not as of now: {log}:2: must end in ")
    assert all(len(status.tables[0].rows) == 1 for status in shown)


def test_on_a_terminal_one_view_changes_and_the_last_one_stays(
    driver: Driver, tmp_path: Path
) -> None:
    for number in range(12):
        driver.run((0.0, 0.2)[number % 2], **{"adapter.rank": 4 + number})
    name = driver.start(0.4)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, height=18)
    seen: list[str] = []
    live = LiveProgress({name: TrialProgress(7, 30, 12.0)}, TimeLeft(90.0))

    def end() -> None:
        seen.append(stream.getvalue())
        driver.finish(name)
        driver.end()

    shown = watched(tmp_path, [lambda: write_progress(tmp_path / "demo", live), end], console)
    assert len(shown) == 1, "only the last status stays"
    assert len(shown[0].tables[0].rows) == 13
    last_view = seen[0].rpartition("demo: running on ")[2]
    assert "about 1 min 30 s left" in last_view
    assert "running, step 7/30" in last_view
    assert re.search(r"\d+ earlier\s+rows\s+not\s+shown", last_view)
    # It fits the terminal, so that it can be drawn over.
    assert last_view.count("\n") < 18


START = "from droplora_sweep.cli import main; main()"


def begun(storage: Path, *, stdout: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, "status", "demo", "--watch", "--storage", str(storage)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_it_in_order_with_one_line(driver: Driver, tmp_path: Path) -> None:
    driver.run(0.2)
    process = begun(tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    while "demo: running on " not in (line := process.stdout.readline()):
        assert line, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    rest, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    assert rest == "demo: no longer watched; its driver was told nothing\n"
    holder = find_holder(tmp_path / "demo" / LEASE)
    assert holder is not None, "the sweep goes on"
    driver.end()


def test_ctrl_c_leaves_a_terminal_as_it_was(driver: Driver, tmp_path: Path) -> None:
    driver.run(0.2)
    ours, its = pty.openpty()
    process = begun(tmp_path, stdout=its)
    os.close(its)
    seen = b""
    deadline = time.monotonic() + 240
    while b"demo: running on " not in seen:
        assert time.monotonic() < deadline, seen
        seen += os.read(ours, 10_000)
    process.send_signal(signal.SIGINT)
    try:
        while part := os.read(ours, 10_000):
            seen += part
    except OSError:
        # The other end is closed.
        pass
    os.close(ours)
    _, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    assert seen.count(b"no longer watched") == 1
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l"), "the cursor is shown again"
    driver.end()
