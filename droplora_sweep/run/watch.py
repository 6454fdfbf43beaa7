"""The driver's watch over a running sweep: signals, requests, disks, and the progress file."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import DropLoRASweepError, PoolLostError, SweepError
from droplora_sweep.groups.pool import ask
from droplora_sweep.ledger.progress import (
    LiveProgress,
    TrialProgress,
    forget_progress,
    write_progress,
)
from droplora_sweep.ledger.requests import is_stop_requested
from droplora_sweep.records.trial import SweepOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from ray.actor import ActorHandle

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.groups.messages import Beginning, StepsDone
    from droplora_sweep.ledger.progress import TimeLeft
    from droplora_sweep.ledger.writer import LedgerWriter

    from .control import Control
    from .recorder import Recorder


MIN_FREE_BYTES = 64_000_000
"""Kept free so that a sweep that stops can still write ledger, study and MLflow's store. A
checkpoint that no longer fits is left out, and its trial goes on from the one before."""


def full_disk(folders: Iterable[Path], min_free_bytes: int = MIN_FREE_BYTES) -> str | None:
    """Which disk is nearly full, in one line that names the folder; None while all have room.

    Quotas are not seen here; a write that one refuses is reported by its own path.

    Args:
        folders: Where is written; one that is missing is going to be made.
        min_free_bytes: What has to be free on the disk of each.
    """
    for folder in folders:
        existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(existing).free
        if free < min_free_bytes:
            return (
                f"a full disk: {folder} has {free / 1e6:.0f} MB left, and "
                f"{min_free_bytes / 1e6:.0f} MB are kept free to end in order"
            )
    return None


@contextmanager
def full_disk_named(folders: Iterable[Path]) -> Iterator[None]:
    """Turn whatever fails on a full disk into a `SweepError` that names the folder.

    Args:
        folders: As `full_disk` takes them.
    """
    try:
        yield
    except DropLoRASweepError:
        raise
    except Exception as error:  # sqlite, MLflow and Ray each have an exception of their own.
        disk = full_disk(folders)
        if disk is None:
            raise
        raise SweepError(disk) from error


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Remembers the first signal; a context manager that gives the handlers back.

    Attributes:
        signal: Name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: object) -> None:
        self.signal = signal.Signals(number).name
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)


PROGRESS_INTERVAL_S = 3.0


class ProgressFile:
    """The file of one sweep while its driver lives; a context manager that removes it.

    Args:
        directory: The sweep's folder on this machine.
        left: Tells the time that the sweep still takes.
        seconds: Tells how long a trial has run for.
    """

    def __init__(
        self, directory: Path, left: Callable[[], TimeLeft], seconds: Callable[[str], float]
    ) -> None:
        self._directory = directory
        self._left = left
        self._seconds = seconds
        self._next_at = 0.0

    def __enter__(self) -> ProgressFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        forget_progress(self._directory)

    def tick(self, steps: Mapping[str, StepsDone]) -> None:
        """Write it, unless it was written a moment ago.

        Args:
            steps: How far each trial in training is.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + PROGRESS_INTERVAL_S
        trials = {
            trial_id: TrialProgress(
                done.step, done.num_steps, self._seconds(trial_id), in_steps=done.in_steps
            )
            for trial_id, done in steps.items()
        }
        write_progress(self._directory, LiveProgress(trials, self._left()))


INTERVAL_S = 0.5
DISK_INTERVAL_S = 5.0
"""Asking a network file system for its room is not free; no disk fills in less."""


class Watch:
    """Asked at every turn of the search whether to stop; looks around a few times a second.

    When it stops, groups are told at once: of the time until SIGKILL comes, Tune's own end
    must take nothing from their saving.

    Attributes:
        outcome: How the sweep ends if it ended now.
        reason: Why it does not run to its end, or None.
    """

    def __init__(
        self,
        interruption: Interruption,
        ledger: LedgerWriter,
        groups: GroupManager,
        recorder: Recorder,
        pool: ActorHandle[Any],
        control: Control,
        *,
        folders: Sequence[Path],
        grace_s: float,
        ticks: Iterable[Callable[[Mapping[str, StepsDone]], None]],
        say: Callable[[str], None],
    ) -> None:
        self.outcome = SweepOutcome.COMPLETE
        self.reason: str | None = None
        self._interruption = interruption
        self._ledger = ledger
        self._groups = groups
        self._recorder = recorder
        self._pool = pool
        self._control = control
        self._folders = folders
        self._next_disk_look = 0.0
        self._grace_s = grace_s
        self._ticks = tuple(ticks)
        self._say = say
        self._unfinished = {one.trial_id for one in ledger.records() if not one.is_finished}
        self._next_look = 0.0

    def __call__(self) -> bool:
        if self.reason is None and time.monotonic() >= self._next_look:
            self._look()
            self._next_look = time.monotonic() + INTERVAL_S
            if self.reason is not None:
                self._recorder.abandon()
                self._groups.close(self._grace_s)
        return self.reason is not None

    def _look(self) -> None:
        if self._interruption.signal is not None:
            self.outcome, self.reason = SweepOutcome.INTERRUPTED, self._interruption.signal
            return
        try:
            if is_stop_requested(self._ledger.directory, self._ledger.holder):
                self.outcome, self.reason = SweepOutcome.INTERRUPTED, "droplora-sweep stop"
                return
            self._ledger.require_lease()
            self._recorder.check()
            self._groups.check()
            self._control()
            self._recorder.adjusted(ask(self._pool, "take_adjustments"))
            for beginning in ask(self._pool, "take_beginnings"):
                self._say_beginning(beginning)
            progress = ask(self._pool, "progress")
            for tick in self._ticks:
                tick(progress)
        except PoolLostError as error:
            self.outcome, self.reason = SweepOutcome.INTERRUPTED, str(error)
            return
        except (SweepError, OSError) as error:
            self.outcome, self.reason = SweepOutcome.FAILED, str(error)
            return
        if time.monotonic() >= self._next_disk_look:
            self._next_disk_look = time.monotonic() + DISK_INTERVAL_S
            if (disk := full_disk(self._folders)) is not None:
                self.outcome, self.reason = SweepOutcome.INTERRUPTED, disk
                return

    def _say_beginning(self, beginning: Beginning) -> None:
        """Say where a trial goes on that was begun before."""
        has_run_before = beginning.trial_id in self._unfinished
        if line := beginning_line(beginning, has_run_before=has_run_before):
            self._say(line)


def beginning_line(beginning: Beginning, *, has_run_before: bool) -> str | None:
    """What is said of a group that begins with a trial; None of one that nobody has begun before.

    Args:
        beginning: Where it begins.
        has_run_before: Whether an earlier driver had it.
    """
    if not has_run_before and beginning.attempt == 1:
        return None
    if beginning.step:
        return (
            f"{beginning.trial_id} resumes from step {beginning.step} of {beginning.num_steps}, "
            "its newest usable checkpoint"
        )
    return f"{beginning.trial_id} begins again at step 0: no checkpoint of it can be used"
