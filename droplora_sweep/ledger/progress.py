"""Progress of a driver's running trials: a small file beside the ledger, for other processes.

Nothing depends on it and no event is written for it: the driver replaces it every few seconds, and
removes it when it ends. Where the storage is a URL it stays on the driver's machine.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from droplora_sweep.files import temporary_beside
from droplora_sweep.records.layout import PROGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class TimeLeft:
    """Seconds that a sweep still takes, at its pace so far.

    Attributes:
        stage_s: Of what runs now; None where that cannot be told yet.
        confirmation_s: Of the confirmation that follows, at its fewest and its most runs; None
            where none follows, or where it cannot be told yet.
    """

    stage_s: float | None
    confirmation_s: tuple[float, float] | None = None


@dataclass(frozen=True)
class TrialProgress:
    """Progress of a running trial.

    Attributes:
        step: Optimiser steps done.
        num_steps: Steps in all.
        seconds: Since a group of this driver began with it.
        in_steps: True within its training steps; else it loads, evaluates or saves.
    """

    step: int
    num_steps: int
    seconds: float
    in_steps: bool = True


@dataclass(frozen=True)
class LiveProgress:
    """Progress of a running sweep.

    Attributes:
        trials: Its trials in training, by id.
        left: Time that it still takes.
        written: Time of this report, UTC.
        num_released: Groups that have ended until there is work for them.
    """

    trials: Mapping[str, TrialProgress]
    left: TimeLeft
    written: datetime = field(default_factory=lambda: datetime.now(UTC))
    num_released: int = 0

    def age_s(self, now: datetime | None = None) -> float:
        """Return its age in seconds."""
        return ((now or datetime.now(UTC)) - self.written).total_seconds()


def write_progress(directory: Path, progress: LiveProgress) -> None:
    """Replace the progress file of a sweep; a full disk does not stop the sweep."""
    path = directory / PROGRESS
    content = {**asdict(progress), "written": progress.written.isoformat()}
    temporary = temporary_beside(path)
    try:
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def forget_progress(directory: Path) -> None:
    """Remove the progress file: nothing runs any more."""
    with contextlib.suppress(OSError):
        (directory / PROGRESS).unlink(missing_ok=True)


def read_progress(directory: Path) -> LiveProgress | None:
    """Return what a sweep's driver last said; None where it has said nothing that can be read."""
    try:
        content = json.loads((directory / PROGRESS).read_text(encoding="utf-8"))
        confirmation = content["left"]["confirmation_s"]
        return LiveProgress(
            trials={name: TrialProgress(**one) for name, one in content["trials"].items()},
            left=TimeLeft(
                content["left"]["stage_s"],
                None if confirmation is None else (confirmation[0], confirmation[1]),
            ),
            written=datetime.fromisoformat(content["written"]),
            # An earlier version's driver does not say it.
            num_released=content.get("num_released", 0),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
