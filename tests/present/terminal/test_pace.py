"""The time a sweep still takes, and how far its trials are, on the screen and for `status`."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from droplora_sweep.groups.messages import StepsDone
from droplora_sweep.ledger.progress import (
    LiveProgress,
    TimeLeft,
    TrialProgress,
    read_progress,
    write_progress,
)
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.present.terminal.pace import Run, left_text, running_text, time_left
from droplora_sweep.present.terminal.progress import LineProgress
from droplora_sweep.records.layout import PROGRESS
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.watch import ProgressFile
from droplora_sweep.spec import SweepSpec, TrialSpec
from tests.recording import planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRIAL = "t0000-0123abcd"


def left(runs: list[Run], **given: object) -> TimeLeft:
    settings = {"elapsed_s": 60.0, "num_trials": 4, "num_done_before": 0, "num_confirmed": None}
    return time_left(runs, **{**settings, **given})  # type: ignore[arg-type]


def test_nothing_is_told_before_something_is_done() -> None:
    assert left([]) == left([Run(60, 0, 0.0)], num_confirmed=(6, 9)) == TimeLeft(None, None)


def test_the_first_trial_tells_before_it_has_ended() -> None:
    # A quarter in 60 s: three quarters and three trials are left.
    assert left([Run(60, 0, 0.25)]) == TimeLeft(900.0)


def test_the_confirmation_is_counted_by_whole_runs() -> None:
    # Two groups; two whole trials of 50 s, and two that were stopped after 10 s.
    runs = [Run(50, 0, 1, is_whole=True), Run(10, 0, 1)] * 2
    found = left(runs, num_trials=6, num_confirmed=(6, 12))
    assert found.stage_s == 30.0
    assert found.confirmation_s == (150.0, 300.0)
    assert left_text(found) == "about 30.0 s left, then 2 min 30 s to 5 min 0 s of confirmation"


def test_what_was_trained_before_a_resume_counts_for_nothing_here() -> None:
    # The trial came with half its steps, and has done a quarter more in 60 s.
    resumed = Run(60, 0.5, 0.75)
    assert left([resumed], num_trials=1) == TimeLeft(60.0)
    assert left([resumed], num_trials=3, num_done_before=1) == TimeLeft(300.0)


def test_a_budget_alone_has_no_end_to_count_to() -> None:
    assert left([Run(60, 0, 1, is_whole=True)], num_trials=None).stage_s is None


def test_lines_say_how_far_a_trial_is_when_nothing_else_was_said(
    tmp_path: Path,
) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    progress = LineProgress(console, 2, "val/mean", (6, 9), interval_s=0)
    progress.tick({})
    ledger = LedgerWriter.create(tmp_path, SweepSpec(name="s"))
    ledger.subscribe(progress.event)
    ledger.trial_started(planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8}))
    progress.tick({TRIAL: StepsDone(0, 300, in_steps=False)})
    progress.tick({TRIAL: StepsDone(150, 300)})
    progress.tick({TRIAL: StepsDone(150, 300, in_steps=False)})
    progress.tick({})
    first, _, began, half, evaluates, between = stream.getvalue().splitlines()
    assert first == between
    assert first == "no trial trains just now: groups start, or load the model and the data"
    assert began.startswith(f"{TRIAL} step 0/300, begins (0.")
    assert began.endswith(" s so far); 0/2 trials done, time left not known yet")
    assert half.startswith(f"{TRIAL} step 150/300 (")
    assert half.endswith(" of confirmation")
    assert evaluates.startswith(f"{TRIAL} step 150/300, evaluates or saves (")
    ledger.close()


def test_the_wait_for_a_group_that_starts_is_no_part_of_the_pace(tmp_path: Path) -> None:
    progress = LineProgress(Console(file=io.StringIO()), 2, "val/mean", (10, 10))
    ledger = LedgerWriter.create(tmp_path, SweepSpec(name="s"))
    ledger.subscribe(progress.event)
    ledger.trial_started(planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8}))
    time.sleep(2)
    progress.tick({TRIAL: StepsDone(0, 300, in_steps=False)})
    assert progress.seconds(TRIAL) < 1.5
    progress.tick({TRIAL: StepsDone(300, 300)})
    ledger.trial_finished(TRIAL, TrialState.COMPLETE)
    found = progress.left()
    assert found.confirmation_s is not None
    # With the wait, ten runs would take 20 s.
    assert found.confirmation_s[1] < 15
    ledger.close()


def test_what_a_driver_writes_is_what_others_read(tmp_path: Path) -> None:
    live = LiveProgress({TRIAL: TrialProgress(3, 9, 1.5)}, TimeLeft(8.0, (1.0, 2.0)))
    write_progress(tmp_path, live)
    assert read_progress(tmp_path) == live
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"trials": 3}', b"\xff"])
def test_what_cannot_be_read_is_not_known(tmp_path: Path, content: bytes) -> None:
    assert read_progress(tmp_path) is None
    (tmp_path / PROGRESS).write_bytes(content)
    assert read_progress(tmp_path) is None


def test_a_folder_that_takes_nothing_stops_no_driver(tmp_path: Path) -> None:
    write_progress(tmp_path / "gone", LiveProgress({}, TimeLeft(None)))
    assert read_progress(tmp_path / "gone") is None


def test_it_is_written_now_and_then_and_removed_with_its_driver(tmp_path: Path) -> None:
    progress = LineProgress(Console(file=io.StringIO()), 4, "val/mean")
    with ProgressFile(tmp_path, progress) as file:
        file.tick({TRIAL: StepsDone(3, 9)})
        file.tick({TRIAL: StepsDone(4, 9)})
        found = read_progress(tmp_path)
        assert found is not None
        assert found.trials == {TRIAL: TrialProgress(3, 9, 0.0)}
    assert read_progress(tmp_path) is None


def test_old_word_is_told_with_its_age() -> None:
    written = datetime.now(UTC) - timedelta(minutes=5)
    text = running_text(LiveProgress({}, TimeLeft(90.0), written))
    assert text == "about 1 min 30 s left, as of 5 min 0 s ago"
    assert "not known here" in running_text(None)


def test_groups_that_were_released_are_told_of() -> None:
    live = LiveProgress({}, TimeLeft(90.0), num_released=2)
    assert running_text(live) == "about 1 min 30 s left, 2 groups released until there is work"


def test_a_drivers_word_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    written = LiveProgress({}, TimeLeft(8.0))
    write_progress(tmp_path, written)
    path = tmp_path / PROGRESS
    content = json.loads(path.read_text())
    del content["num_released"]
    path.write_text(json.dumps(content))
    assert read_progress(tmp_path) == written


def test_status_shows_the_step_and_time_of_a_running_trial(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    ledger = LedgerWriter.create(tmp_path, SweepSpec(name="s"))
    ledger.trial_started(planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8}))
    write_progress(
        ledger.directory,
        LiveProgress(
            {TRIAL: TrialProgress(120, 300, 84.0, in_steps=False)},
            TimeLeft(600.0, (900.0, 1500.0)),
        ),
    )
    code, output, complaints = call("status", "s", "--storage", str(tmp_path))
    assert (code, complaints) == (0, "")
    assert "running, step 120/300, evaluates or saves" in " ".join(output.split())
    assert "1 min 24 s" in output
    assert "about 10 min 0 s left, then 15 min 0 s to 25 min 0 s of confirmation" in output
    ledger.trial_finished(TRIAL, TrialState.COMPLETE)
    ledger.close()
    assert "step 120" not in call("status", "s", "--storage", str(tmp_path))[1]
