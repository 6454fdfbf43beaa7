"""The driver's watch over a running sweep, and the file that tells others of its progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from droplora_sweep.errors import PoolLostError, SweepError
from droplora_sweep.groups.pool import ask
from droplora_sweep.ledger.progress import (
    LiveProgress,
    TrialProgress,
    forget_progress,
    write_progress,
)
from droplora_sweep.ledger.requests import is_stop_requested
from droplora_sweep.records.trial import Stage, SweepOutcome

from .ending import Ending, full_disk
from .spending import gpu_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.groups.messages import Beginning, StepsDone, Workload
    from droplora_sweep.ledger.progress import TimeLeft
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.events import Event
    from droplora_sweep.records.trial import SweepRecord

    from .control import Control
    from .ending import Interruption
    from .outside.metrics import Metrics
    from .recorder import Recorder
    from .references import References


class Progress(Protocol):
    """Shows the user what happens."""

    def say(self, text: str) -> None:
        """Show one line that stays."""

    def start_from(self, record: SweepRecord) -> None:
        """Count what earlier drivers finished of the search."""

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        """Another part of the sweep begins, with trials of its own, some of them done before."""

    def event(self, event: Event) -> None:
        """An event of the ledger; called on the thread that wrote it."""

    def tick(self, steps: Mapping[str, StepsDone]) -> None:
        """Show the step of each trial in training; called a few times a second."""

    def left(self) -> TimeLeft:
        """Time that the sweep still takes."""

    def seconds(self, trial_id: str) -> float:
        """Return the seconds for which this driver has run a trial."""


class Publisher(Protocol):
    """Brings what happens to a tracking server."""

    @property
    def backlog(self) -> int:
        """Runs that the server lacks, or has in an earlier state."""


PROGRESS_INTERVAL_S = 3.0


class ProgressFile:
    """The file of one sweep while its driver lives; a context manager that removes it.

    Args:
        directory: The sweep's folder on this machine.
        progress: Has the time that is left.
    """

    def __init__(self, directory: Path, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._next_at = 0.0

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        forget_progress(self._directory)

    def tick(self, steps: Mapping[str, StepsDone], num_released: int = 0) -> None:
        """Write it, unless it was written a moment ago.

        Args:
            steps: Steps of each trial in training.
            num_released: Groups that have ended until there is work for them.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + PROGRESS_INTERVAL_S
        trials = {
            trial_id: TrialProgress(
                done.step, done.num_steps, self._progress.seconds(trial_id), done.in_steps
            )
            for trial_id, done in steps.items()
        }
        live = LiveProgress(trials, self._progress.left(), num_released=num_released)
        write_progress(self._directory, live)


INTERVAL_S = 0.5
DISK_INTERVAL_S = 5.0
"""Asking a network file system for its room is not free; no disk fills in less."""


@dataclass(kw_only=True)
class Watch:
    """Asked at every turn of a stage whether to stop; looks around a few times a second.

    When it stops, groups are told at once: of the time until SIGKILL comes, Tune's own end
    must take nothing from their saving.

    Attributes:
        ledger: Has a user's request to stop, and a lease that may be lost.
        interruption: Has the signal that came.
        groups: Are ended where the run ends early.
        recorder: Records settings that groups had to change, until the run ends early.
        references: Collects the untrained model's scores.
        control: Does what users ask of single trials.
        pool: Has news of the groups.
        folders: Folders on disks that may become full.
        grace_s: Seconds that groups have to save their trials.
        live: Tells other processes how far the trials are.
        progress: Shows the user what happens.
        publisher: Brings what happens to MLflow.
        metrics: Shows numbers to Prometheus.
        ending: An early end; None while there is no reason for one.
    """

    ledger: LedgerWriter
    interruption: Interruption
    groups: GroupManager
    recorder: Recorder
    references: References
    control: Control
    pool: ActorHandle[Any]
    folders: Sequence[Path]
    grace_s: float
    live: ProgressFile
    progress: Progress
    publisher: Publisher
    metrics: Metrics
    ending: Ending | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        trials = self.ledger.records()
        self._unfinished = {
            trial.trial_id
            for trial in trials
            if not trial.is_finished and not trial.is_to_be_retried
        }
        self._next_look = self._next_disk_look = 0.0

    def __call__(self) -> bool:
        if self.ending is None and time.monotonic() >= self._next_look:
            self.ending = self._look()
            self._next_look = time.monotonic() + INTERVAL_S
            if self.ending is not None:
                self.recorder.abandon()
                self.groups.close(self.grace_s)
        return self.ending is not None

    def _look(self) -> Ending | None:
        try:
            reason = self.interruption.signal or self._stop_request()
            if reason is None:
                self._tend()
                reason = self._full_disk()
        except PoolLostError as error:
            reason = str(error)
        except (SweepError, OSError) as error:
            return Ending(SweepOutcome.FAILED, str(error))
        return None if reason is None else Ending(SweepOutcome.INTERRUPTED, reason)

    def _stop_request(self) -> str | None:
        is_asked = is_stop_requested(self.ledger.directory, self.ledger.holder)
        return "droplora-sweep stop" if is_asked else None

    def _tend(self) -> None:
        """Check that the run can continue, and do what is due beside the trials."""
        self.ledger.require_lease()
        self.recorder.check()
        self.groups.check()
        self.control()
        self.references.collect()
        self.recorder.adjusted(ask(self.pool, "take_adjustments"))
        for beginning in ask(self.pool, "take_beginnings"):
            has_run_before = beginning.trial_id in self._unfinished
            if line := beginning_line(beginning, has_run_before=has_run_before):
                self.progress.say(line)
        steps = ask(self.pool, "progress")
        self.progress.tick(steps)
        self.live.tick(steps, self.groups.num_released)
        if self.metrics.is_due():
            self._show_metrics()

    def _show_metrics(self) -> None:
        workload: Workload = ask(self.pool, "workload")
        record = self.ledger.record
        stages = (Stage.SEARCH, Stage.CONFIRM)
        spent = sum((gpu_time(record, datetime.now(UTC), one) for one in stages), timedelta())
        self.metrics.show(
            trials=record.trials,
            groups={
                "working": workload.num_leased,
                "waiting": len(workload.idle_s),
                "released": self.groups.num_released,
            },
            num_waiting=workload.num_waiting,
            num_unpublished=self.publisher.backlog,
            gpu_hours=spent / timedelta(hours=1),
        )

    def _full_disk(self) -> str | None:
        if time.monotonic() < self._next_disk_look:
            return None
        self._next_disk_look = time.monotonic() + DISK_INTERVAL_S
        return full_disk(self.folders)


def beginning_line(beginning: Beginning, *, has_run_before: bool) -> str | None:
    """Return the line for a group that begins with a resumed trial; None for a new trial.

    Args:
        beginning: The step that it begins at.
        has_run_before: True where an earlier driver has run the trial.
    """
    if not has_run_before and beginning.attempt == 1:
        return None
    if beginning.step:
        return (
            f"{beginning.trial_id} resumes from step {beginning.step} of {beginning.num_steps}, "
            "its newest usable checkpoint"
        )
    return f"{beginning.trial_id} starts again at step 0: none of its checkpoints can be used"
