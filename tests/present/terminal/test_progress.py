"""Progress: one line per event where nobody watches, a table where a user does."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from droplora_sweep.groups.messages import StepsDone
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.present.terminal.progress import LineProgress, TableProgress, make_progress
from droplora_sweep.present.values import format_bytes, format_count, format_seconds
from droplora_sweep.records.trial import QueuedClone, TrialState
from droplora_sweep.spec import SweepSpec, TrialSpec
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from pathlib import Path

TRIAL = "t0000-0123abcd"
METRICS = {"val/mean": 0.25, "train/loss": 1.5}


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerWriter:
    return LedgerWriter.create(tmp_path, SweepSpec(name="s"))


def show(ledger: LedgerWriter, kind: Any, *, is_terminal: bool) -> str:
    """Return the view's output while one of two trials starts, reports and ends."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=is_terminal, width=100)
    with kind(console, 2, "val/mean") as progress:
        ledger.subscribe(progress.event)
        ledger.trial_started(planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8}))
        progress.tick({TRIAL: StepsDone(3, 9)})
        ledger.trial_reported(TRIAL, evaluated(1, 5, METRICS, num_evaluations=2))
        ledger.trial_finished(TRIAL, TrialState.FAILED, reason="loss is nan at step 7")
    return stream.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_somebody_asked_is_shown_as_it_happens(
    ledger: LedgerWriter, is_terminal: bool
) -> None:
    stream = io.StringIO()
    kind = TableProgress if is_terminal else LineProgress
    console = Console(file=stream, force_terminal=is_terminal, width=140, highlight=False)
    ledger.trial_started(planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8}))
    clone = QueuedClone(
        trial_id="t0001-0123abce",
        number=1,
        fingerprint="0123abce",
        spec={},
        params={"adapter.rank": 4},
        drawn={},
        clone_of=TRIAL,
        by="ada@host",
    )
    with kind(console, 2, "val/mean") as progress:
        ledger.subscribe(progress.event)
        ledger.trial_pinned(TRIAL, "ada@host")
        ledger.trial_stop_asked(TRIAL, "ada@host")
        ledger.trial_cloned(clone)
    shown = stream.getvalue()
    assert f"{TRIAL} is pinned by ada@host" in shown
    assert f"{TRIAL} is stopped by ada@host" in shown
    assert f"t0001-0123abce queued    r=4, a clone of {TRIAL}, by ada@host" in shown


def test_lines_say_what_started_what_it_scored_how_it_ended_and_what_is_left(
    ledger: LedgerWriter,
) -> None:
    started, evaluated, ended = show(ledger, LineProgress, is_terminal=False).splitlines()
    assert started == f"{TRIAL} started   r=8"
    assert evaluated == f"{TRIAL} evaluated 1, step 5: val/mean 25.0 %, train/loss 1.500"
    assert ended.startswith(f"{TRIAL} failed    val/mean 25.0 % in 0.")
    assert "(1/2, about 0." in ended
    assert ended.endswith("s left): loss is nan at step 7")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_another_sweep_has_trained_is_nothing_that_happens(
    ledger: LedgerWriter, is_terminal: bool
) -> None:
    stream = io.StringIO()
    kind = TableProgress if is_terminal else LineProgress
    with kind(Console(file=stream, width=100), 2, "val/mean") as progress:
        ledger.subscribe(progress.event)
        trial = planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8})
        ledger.trial_started(trial, origin=f"other/{TRIAL}")
        ledger.trial_reported(TRIAL, evaluated(1, 5, METRICS, num_evaluations=1))
        ledger.trial_finished(TRIAL, TrialState.FAILED, reason="loss is nan at step 7")
        assert TRIAL not in stream.getvalue()
        ledger.trial_retried(TRIAL, "ada@host")
        ledger.trial_started(trial)
    assert is_terminal or f"{TRIAL} started   r=8" in stream.getvalue()


def test_a_table_shows_trial_parameters_stage_and_score(ledger: LedgerWriter) -> None:
    output = show(ledger, TableProgress, is_terminal=True)
    for text in (TRIAL, "r=8", "failed", "25.0 %", "1/2 trials"):
        assert text in output


@pytest.mark.parametrize(("is_terminal", "kind"), [(True, TableProgress), (False, LineProgress)])
def test_the_view_follows_the_terminal(is_terminal: bool, kind: type) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal)
    assert type(make_progress(console, 2, "val/mean")) is kind


def test_numbers_are_written_for_people() -> None:
    assert [format_seconds(each) for each in (None, 8.21, 200, 7500)] == [
        "\N{EN DASH}",
        "8.2 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert [format_bytes(each) for each in (512, 2_037_952)] == ["512 B", "2.0 MB"]
    assert [format_count(each) for each in (12, 7168, 56_102_912)] == ["12", "7.17k", "56.10M"]


@pytest.mark.parametrize("kind", [LineProgress, TableProgress])
def test_a_winner_that_an_earlier_driver_trained_may_be_tested(
    ledger: LedgerWriter, kind: Any
) -> None:
    ledger.trial_started(planned(TRIAL, 0, "0123abcd", TrialSpec(), {"adapter.rank": 8}))
    ledger.trial_finished(TRIAL, TrialState.COMPLETE)
    with kind(Console(file=io.StringIO()), 2, "val/mean") as progress:
        ledger.subscribe(progress.event)
        ledger.trial_tested(TRIAL, [])
    assert ledger.trial(TRIAL).is_tested
