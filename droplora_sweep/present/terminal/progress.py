"""Progress of a running sweep: one line per event, or a live table on a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from droplora_sweep.present.contents.trials import exploit_text, stage_text
from droplora_sweep.present.values import format_params, format_score, format_seconds
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


ASKED = {EventKind.TRIAL_STOP_ASKED: "is stopped", EventKind.TRIAL_PINNED: "is pinned"}


def notable_line(event: Event) -> str | None:
    """What a user asked of the running sweep, or a member copied; None of other events."""
    payload = event.payload
    if event.kind is EventKind.TRIAL_CLONED:
        params = format_params(payload["params"])
        clone = f"a clone of {payload['clone_of']}, by {payload['by']}"
        return f"{payload['clone_id']} queued    {params}, {clone}"
    if event.kind is EventKind.TRIAL_EXPLOITED and payload["source"] is not None:
        text = exploit_text(payload["evaluation"], payload["source"], payload["settings"])
        return f"{event.trial_id} goes on  {text}"
    if event.kind in ASKED:
        return f"{event.trial_id} {ASKED[event.kind]} by {payload['by']}"
    return None


@dataclass
class _Row:
    params: Mapping[str, object]
    started: float
    stage: str = "waiting"
    part: int = 0
    score: float | None = None
    seconds: float | None = None
    began: float | None = None
    share_before: float = 0.0
    share: float = 0.0

    def reach(self, step: int, num_steps: int) -> None:
        """Take note of the step; the first one that is seen is where a group began with it."""
        self.share = step / max(1, num_steps)
        if self.began is None:
            self.began, self.share_before = time.monotonic(), self.share

    def run(self, now: float) -> Run:
        """What the pace is told by: not by the wait for a group, which may only start."""
        is_whole = self.stage == "complete"
        share = self.share if self.seconds is None else 1.0
        ended = now if self.seconds is None else self.started + self.seconds
        began = self.began
        if began is None:
            began = ended if self.seconds is None else self.started
        return Run(ended - began, self.share_before, share, is_whole)


class Progress(Protocol):
    """Shows what happens; used as a context manager."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def say(self, text: str) -> None:
        """Show one line that stays."""

    def start_from(self, record: SweepRecord) -> None:
        """Count what earlier drivers finished of the search."""

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        """Another part of the sweep begins, with trials of its own, some of them done before."""

    def event(self, event: Event) -> None:
        """An event of the ledger; called on the thread that wrote it."""

    def tick(self, steps: Steps) -> None:
        """How far each trial in training is; called a few times a second."""

    def left(self) -> TimeLeft:
        """Time that the sweep still takes."""

    def seconds(self, trial_id: str) -> float:
        """How long this driver has run a trial for."""


@dataclass
class _Sweep:
    """What both views know: every trial so far, and the pace of the sweep."""

    num_trials: int | None
    metric: str
    num_confirmed: tuple[int, int] | None = None
    num_done_before: int = 0
    rows: dict[str, _Row] = field(default_factory=dict)
    first_start: float | None = None
    part: int = 0

    def start_from(self, record: SweepRecord) -> None:
        self.num_done_before = sum(trial.is_finished for trial in record.search_trials)

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        self.metric, self.num_trials, self.num_done_before = metric, num_trials, num_done
        self.first_start = None
        self.part += 1
        # What is left of this part is all that is known to be left.
        self.num_confirmed = None

    def add(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind is EventKind.TRIAL_STARTED:
            self.first_start = self.first_start or now
            self.rows[event.payload["trial_id"]] = _Row(
                event.payload["params"], now, part=self.part
            )
        elif event.kind is EventKind.TRIAL_REPORTED:
            row = self.rows[event.payload["trial_id"]]
            row.score = float(event.payload["metrics"].get(self.metric, "nan"))
        elif event.kind is EventKind.TRIAL_FINISHED:
            row = self.rows[event.payload["trial_id"]]
            row.stage = event.payload["state"].lower()
            row.seconds = now - row.started

    def reach(self, steps: Steps) -> None:
        for trial_id, done in steps.items():
            if trial_id in self.rows:
                self.rows[trial_id].reach(done.step, done.num_steps)

    @property
    def num_done(self) -> int:
        return self.num_done_before + self._num_done_now

    @property
    def done(self) -> str:
        """``3/12``, or ``3`` where nobody knows of how many."""
        return str(self.num_done) + (f"/{self.num_trials}" if self.num_trials else "")

    @property
    def _num_done_now(self) -> int:
        done = (row for row in self.rows.values() if row.seconds is not None)
        return sum(row.part == self.part for row in done)

    def left(self) -> TimeLeft:
        """From the pace since this driver's first trial of this part started."""
        now = time.monotonic()
        rows = [row for row in list(self.rows.values()) if row.part == self.part]
        begun = [row.began for row in rows if row.began is not None]
        first = min(begun, default=self.first_start)
        return time_left(
            [row.run(now) for row in rows],
            elapsed_s=0.0 if first is None else now - first,
            num_trials=self.num_trials,
            num_done_before=self.num_done_before,
            num_confirmed=self.num_confirmed,
        )

    def seconds(self, trial_id: str) -> float:
        row = self.rows.get(trial_id)
        return 0.0 if row is None else row.run(time.monotonic()).seconds


class LineProgress:
    """One line per event, for logs, pipes and ``ray job submit``.

    Where nothing else was said for ``interval_s``, one line says how far the trials are.
    """

    def __init__(
        self,
        console: Console,
        num_trials: int | None,
        metric: str,
        num_confirmed: tuple[int, int] | None = None,
        *,
        interval_s: float = 60.0,
    ) -> None:
        self._console = console
        self._interval_s = interval_s
        self._sweep = _Sweep(num_trials, metric, num_confirmed)
        self._said_at = time.monotonic()

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def say(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(text, markup=False)

    def start_from(self, record: SweepRecord) -> None:
        self._sweep.start_from(record)

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        self._sweep.begin(metric, num_trials, num_done)

    def event(self, event: Event) -> None:
        self._sweep.add(event)
        trial_id = event.trial_id
        if (line := notable_line(event)) is not None:
            self.say(line)
            return
        if trial_id is None:
            return
        row = self._sweep.rows.get(trial_id)
        if row is None:
            # A winner that an earlier driver trained is scored on the test split.
            return
        if event.kind is EventKind.TRIAL_STARTED:
            self.say(f"{trial_id} started   {format_params(row.params)}")
        elif event.kind is EventKind.TRIAL_REPORTED:
            metrics = event.payload["metrics"]
            self.say(
                f"{trial_id} evaluated {event.payload['evaluation']}, step "
                f"{event.payload['step']}: {self._sweep.metric} {format_score(row.score)}, "
                f"{TRAIN_LOSS} {float(metrics[TRAIN_LOSS]):.3f}"
            )
        elif event.kind is EventKind.TRIAL_ADJUSTED:
            settings = format_params(event.payload["settings"])
            self.say(f"{trial_id} goes on with {settings}: {event.payload['reason']}")
        elif event.kind is EventKind.TRIAL_FINISHED:
            reason = event.payload["reason"]
            self.say(
                f"{trial_id} {row.stage:<9} {self._sweep.metric} {format_score(row.score)} in "
                f"{format_seconds(row.seconds)} ({self._sweep.done}, "
                f"{left_text(self._sweep.left())})" + (f": {reason}" if reason else "")
            )

    def tick(self, steps: Steps) -> None:
        self._sweep.reach(steps)
        if time.monotonic() - self._said_at >= self._interval_s:
            self.say(progress_line(steps, self._sweep))

    def left(self) -> TimeLeft:
        return self._sweep.left()

    def seconds(self, trial_id: str) -> float:
        return self._sweep.seconds(trial_id)


class TableProgress:
    """A live table: trials, stage, score, time left."""

    MAX_ROWS = 16

    def __init__(
        self,
        console: Console,
        num_trials: int | None,
        metric: str,
        num_confirmed: tuple[int, int] | None = None,
    ) -> None:
        self._sweep = _Sweep(num_trials, metric, num_confirmed)
        self._steps: Steps = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render)

    def __enter__(self) -> TableProgress:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._live.console.print(text, markup=False)

    def start_from(self, record: SweepRecord) -> None:
        self._sweep.start_from(record)

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        self._sweep.begin(metric, num_trials, num_done)

    def event(self, event: Event) -> None:
        self._sweep.add(event)
        if (line := notable_line(event)) is not None:
            self.say(line)

    def tick(self, steps: Steps) -> None:
        self._sweep.reach(steps)
        self._steps = dict(steps)

    def left(self) -> TimeLeft:
        return self._sweep.left()

    def seconds(self, trial_id: str) -> float:
        return self._sweep.seconds(trial_id)

    def _render(self) -> Group:
        rows = dict(self._sweep.rows)
        hidden = max(0, len(rows) - self.MAX_ROWS)
        table = Table(title=f"{hidden} earlier trials not shown" if hidden else None)
        for column in ("trial", "parameters", "stage", self._sweep.metric, "time"):
            table.add_column(column, justify="right" if column == self._sweep.metric else "left")
        for trial_id, row in list(rows.items())[hidden:]:
            seconds = row.seconds or time.monotonic() - row.started
            table.add_row(
                trial_id,
                format_params(row.params),
                self._stage(trial_id, row),
                format_score(row.score),
                format_seconds(seconds),
            )
        done = f"{self._sweep.done} trials, {left_text(self._sweep.left())}"
        return Group(table, Text(done if rows else "starting the groups"))

    def _stage(self, trial_id: str, row: _Row) -> str:
        if row.seconds is not None or trial_id not in self._steps:
            return row.stage
        step, num_steps, in_steps = self._steps[trial_id]
        return stage_text(step, num_steps, in_steps=in_steps)


def progress_line(steps: Steps, sweep: _Sweep) -> str:
    """How far the running trials are: said where nothing else was for a while."""
    if not steps:
        return "no trial trains just now: groups start, or load the model and the data"
    trials = ", ".join(
        f"{trial_id} {stage_text(step, num_steps, in_steps=in_steps)} "
        f"({format_seconds(sweep.seconds(trial_id))} so far)"
        for trial_id, (step, num_steps, in_steps) in sorted(steps.items())
    )
    return f"{trials}; {sweep.done} trials done, {left_text(sweep.left())}"


def make_progress(
    console: Console,
    num_trials: int | None,
    metric: str,
    num_confirmed: tuple[int, int] | None = None,
) -> Progress:
    """A table where the console is a terminal, lines elsewhere.

    Args:
        console: Where it is shown.
        num_trials: Of the search; None where a budget alone ends it.
        metric: Shown of each trial.
        num_confirmed: Fewest and most runs of the confirmation that follows; None without one.
    """
    kind = TableProgress if console.is_terminal else LineProgress
    return kind(console, num_trials, metric, num_confirmed)
