"""Whether a running sweep has to stop, and what has to be done at once then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import PoolLostError, SweepError
from droplora_sweep.groups.pool import ask
from droplora_sweep.ledger.stop_request import is_stop_requested
from droplora_sweep.records.trial import SweepOutcome

from .disk_room import full_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.groups.messages import Beginning, StepsDone
    from droplora_sweep.ledger.writer import LedgerWriter

    from .control import Control
    from .interruption import Interruption
    from .recorder import Recorder

INTERVAL_S = 0.5
DISK_INTERVAL_S = 5.0
"""Asking a network file system for its room is not free; no disk fills in less."""


class Watch:
    """Asked at every turn of the search whether to stop; looks around a few times a second.

    When it stops, groups are told at once: of the time until somebody sends SIGKILL, Tune's own end
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
