"""A running driver's word to `status`: how far its trials are, every few seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from droplora_sweep.ledger.progress import (
    LiveProgress,
    TrialProgress,
    forget_progress,
    write_progress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from droplora_sweep.groups.messages import StepsDone
    from droplora_sweep.ledger.progress import TimeLeft

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
