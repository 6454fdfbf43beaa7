"""Progress of a running sweep: one line per event, or a live table on a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from droplora_sweep.present.contents.trials import exploit_text, stage_text
from droplora_sweep.present.values import format_metric, format_params, format_seconds
from droplora_sweep.records.events import EventKind
from droplora_sweep.spec.metric_names import TRAIN_LOSS

from .pace import Run, left_text, time_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from droplora_sweep.groups.messages import StepsDone
    from droplora_sweep.ledger.progress import TimeLeft
    from droplora_sweep.records.events import Event
    from droplora_sweep.records.trial import SweepRecord

    Steps = Mapping[str, StepsDone]


ASKED = {
    EventKind.TRIAL_STOP_ASKED: "is stopped",
    EventKind.TRIAL_PINNED: "is pinned",
    EventKind.TRIAL_RETRIED: "is retried",
}
QUIET_S = 60.0
"""Lines say how far the trials are where nothing else was said for so long."""
MAX_ROWS = 16
"""Trials that the live table shows, the latest."""


def notable_line(event: Event) -> str | None:
    """Return what a user asked of the running sweep, or a member copied; None of other events."""
    payload = event.payload
    if event.kind is EventKind.TRIAL_CLONED:
        params = format_params(payload["params"])
        clone = f"a clone of {payload['clone_of']}, by {payload['by']}"
        return f"{payload['clone_id']} queued    {params}, {clone}"
    if event.kind is EventKind.TRIAL_EXPLOITED and payload["source"] is not None:
        text = exploit_text(payload["evaluation"], payload["source"], payload["settings"])
        return f"{event.trial_id} {text}"
    if event.kind in ASKED:
        return f"{event.trial_id} {ASKED[event.kind]} by {payload['by']}"
    return None


@dataclass
class _Row:
    """A trial that this driver has started.

    Attributes:
        params: Its searched values.
        started: Clock at its start.
        part: Part of the sweep that it belongs to.
        stage: Its state, once it has ended.
        score: Of its last evaluation.
        seconds: Between start and end.
        began: Clock at the first step that was seen, where a group began with it.
        share_before: Share of its steps that was done then.
        share: Share that is done now.
    """

    params: Mapping[str, object]
    started: float
    part: int
    stage: str = "waiting"
    score: float | None = None
    seconds: float | None = None
    began: float | None = None
    share_before: float = 0.0
    share: float = 0.0

    def reach(self, step: int, num_steps: int) -> None:
        self.share = step / max(1, num_steps)
        if self.began is None:
            self.began, self.share_before = time.monotonic(), self.share

    def run(self, now: float) -> Run:
        """Return the run without the wait for a group, which may have had to start."""
        has_ended = self.seconds is not None
        ended = now if self.seconds is None else self.started + self.seconds
        began = self.began
        if began is None:
            began = self.started if has_ended else ended
        share = 1.0 if has_ended else self.share
        return Run(ended - began, self.share_before, share, self.stage == "complete")


class Progress:
    """Every trial so far and the pace of the sweep; a context manager.

    Args:
        console: Place to show it.
        num_trials: Of the search; None where a budget alone ends it.
        metric: Shown of each trial.
        num_confirmed: Fewest and most runs of the confirmation that follows; None without one.

    Attributes:
        confirm_work: Training of such a run, in that of a whole trial of the search.
    """

    def __init__(
        self,
        console: Console,
        num_trials: int | None,
        metric: str,
        num_confirmed: tuple[int, int] | None = None,
    ) -> None:
        self._console = console
        self._num_trials = num_trials
        self._metric = metric
        self._num_confirmed = num_confirmed
        self.confirm_work = 1.0
        self._num_done_before = 0
        self._rows: dict[str, _Row] = {}
        self._first_start: float | None = None
        self._part = 0
        self._steps: Steps = {}
        self._taken_over: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Show one line that stays."""
        self._console.print(text, markup=False)

    def start_from(self, record: SweepRecord) -> None:
        """Count what earlier drivers finished of the search."""
        self._num_done_before = sum(trial.is_finished for trial in record.search_trials)

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        """Start another part of the sweep, with trials of its own, some of them done before."""
        self._metric, self._num_trials, self._num_done_before = metric, num_trials, num_done
        self._first_start = None
        self._part += 1
        # What is left of this part is all that is known to be left.
        self._num_confirmed = None

    def event(self, event: Event) -> None:
        """Take note of an event of the ledger; called on the thread that wrote it."""
        now, payload = time.monotonic(), event.payload
        if event.kind is EventKind.TRIAL_STARTED:
            change = self._taken_over.add if payload.get("origin") else self._taken_over.discard
            change(payload["trial_id"])
        if event.trial_id in self._taken_over:
            # Another sweep has trained it: nothing happens here.
            return
        if event.kind is EventKind.TRIAL_STARTED:
            self._first_start = self._first_start or now
            self._rows[payload["trial_id"]] = _Row(payload["params"], now, self._part)
        elif event.kind is EventKind.TRIAL_REPORTED:
            score = float(payload["metrics"].get(self._metric, "nan"))
            self._rows[payload["trial_id"]].score = score
        elif event.kind is EventKind.TRIAL_FINISHED:
            row = self._rows[payload["trial_id"]]
            row.stage, row.seconds = payload["state"].lower(), now - row.started
        elif (line := notable_line(event)) is not None:
            self.say(line)

    def tick(self, steps: Steps) -> None:
        """Take note of how far each trial in training is; called a few times a second."""
        self._steps = dict(steps)
        for trial_id, done in steps.items():
            if trial_id in self._rows:
                self._rows[trial_id].reach(done.step, done.num_steps)

    def left(self) -> TimeLeft:
        """Return the time left at the pace since this driver's first trial of this part started."""
        now = time.monotonic()
        rows = [row for row in list(self._rows.values()) if row.part == self._part]
        begun = [row.began for row in rows if row.began is not None]
        first = min(begun, default=self._first_start)
        return time_left(
            [row.run(now) for row in rows],
            elapsed_s=0.0 if first is None else now - first,
            num_trials=self._num_trials,
            num_done_before=self._num_done_before,
            num_confirmed=self._num_confirmed,
            confirm_work=self.confirm_work,
        )

    def seconds(self, trial_id: str) -> float:
        """Return the seconds for which this driver has run a trial."""
        row = self._rows.get(trial_id)
        return 0.0 if row is None else row.run(time.monotonic()).seconds

    def _shown(self, row: _Row) -> str:
        """Return ``val/mean 61.1 %``."""
        return f"{self._metric} {format_metric(self._metric, row.score)}"

    def _done(self) -> str:
        """Return ``3/12``, or ``3`` where the number of trials is not known."""
        rows = list(self._rows.values())
        num_done = sum(row.part == self._part and row.seconds is not None for row in rows)
        total = f"/{self._num_trials}" if self._num_trials else ""
        return f"{self._num_done_before + num_done}{total}"


class LineProgress(Progress):
    """One line per event, for logs, pipes and ``ray job submit``."""

    def __init__(
        self,
        console: Console,
        num_trials: int | None,
        metric: str,
        num_confirmed: tuple[int, int] | None = None,
        *,
        interval_s: float = QUIET_S,
    ) -> None:
        super().__init__(console, num_trials, metric, num_confirmed)
        self._interval_s = interval_s
        self._said_at = time.monotonic()

    def say(self, text: str) -> None:
        self._said_at = time.monotonic()
        super().say(text)

    def event(self, event: Event) -> None:
        super().event(event)
        trial_id, payload = event.trial_id, event.payload
        row = self._rows.get(trial_id or "")
        if row is None:
            # A winner that an earlier driver trained is scored on the test split.
            return
        if event.kind is EventKind.TRIAL_STARTED:
            self.say(f"{trial_id} started   {format_params(row.params)}")
        elif event.kind is EventKind.TRIAL_REPORTED:
            loss = float(payload["metrics"][TRAIN_LOSS])
            self.say(
                f"{trial_id} evaluated {payload['evaluation']}, step {payload['step']}: "
                f"{self._shown(row)}, {TRAIN_LOSS} {loss:.3f}"
            )
        elif event.kind is EventKind.TRIAL_ADJUSTED:
            settings = format_params(payload["settings"])
            self.say(f"{trial_id} continues with {settings}: {payload['reason']}")
        elif event.kind is EventKind.TRIAL_FINISHED:
            reason = f": {payload['reason']}" if payload["reason"] else ""
            self.say(
                f"{trial_id} {row.stage:<9} {self._shown(row)} in "
                f"{format_seconds(row.seconds)} ({self._done()}, {left_text(self.left())}){reason}"
            )

    def tick(self, steps: Steps) -> None:
        super().tick(steps)
        if time.monotonic() - self._said_at >= self._interval_s:
            self.say(self._running_line(steps))

    def _running_line(self, steps: Steps) -> str:
        if not steps:
            return "no trial trains just now: groups start, or load the model and the data"
        trials = ", ".join(
            f"{trial_id} {stage_text(*done)} ({format_seconds(self.seconds(trial_id))} so far)"
            for trial_id, done in sorted(steps.items())
        )
        return f"{trials}; {self._done()} trials done, {left_text(self.left())}"


class TableProgress(Progress):
    """A live table: trials, stage, score, time left."""

    def __enter__(self) -> Self:
        self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._render)
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def _render(self) -> Group:
        rows = list(self._rows.items())
        hidden = max(0, len(rows) - MAX_ROWS)
        table = Table(title=f"{hidden} earlier trials not shown" if hidden else None)
        for column in ("trial", "parameters", "stage", self._metric, "time"):
            table.add_column(column, justify="right" if column == self._metric else "left")
        for trial_id, row in rows[hidden:]:
            done = self._steps.get(trial_id) if row.seconds is None else None
            table.add_row(
                trial_id,
                format_params(row.params),
                row.stage if done is None else stage_text(*done),
                format_metric(self._metric, row.score),
                format_seconds(row.seconds or time.monotonic() - row.started),
            )
        text = f"{self._done()} trials, {left_text(self.left())}"
        return Group(table, Text(text if rows else "starting the groups"))


def make_progress(
    console: Console,
    num_trials: int | None,
    metric: str,
    num_confirmed: tuple[int, int] | None = None,
) -> Progress:
    """Return a table where the console is a terminal, lines elsewhere."""
    kind = TableProgress if console.is_terminal else LineProgress
    return kind(console, num_trials, metric, num_confirmed)
