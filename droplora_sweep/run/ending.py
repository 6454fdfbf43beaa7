"""The end of a run, and two reasons for an early one: a signal and a full disk."""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import DropLoRASweepError, SweepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Self

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import SweepOutcome


@dataclass(frozen=True)
class Ending:
    """End of a run.

    Attributes:
        outcome: Complete, interrupted or failed.
        reason: The reason of an early end, or the budget that the search has spent; else None.
    """

    outcome: SweepOutcome
    reason: str | None = None


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep.

    Attributes:
        ledger: Record of all that happened.
        ending: End of its last run.
        unpublished: The reason where MLflow lacks something; None where it has all.
    """

    ledger: Ledger
    ending: Ending
    unpublished: str | None


MIN_FREE_BYTES = 64_000_000
"""Space kept free so that a sweep that stops can still write ledger, study and MLflow's store. A
checkpoint that no longer fits is left out, and its trial resumes from the one before."""


def full_disk(folders: Iterable[Path], min_free_bytes: int = MIN_FREE_BYTES) -> str | None:
    """Return a line that names a folder on a nearly full disk; None while all have room.

    Quotas are not seen here; a write that one refuses is reported with its path.

    Args:
        folders: Folders that are written to; a missing one is going to be made.
        min_free_bytes: Free space that the disk of each must have.
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


def require_free_space(folders: Iterable[Path]) -> None:
    """See that no disk is nearly full.

    Raises:
        SweepError: One is; the line names the folder.
    """
    if (disk := full_disk(folders)) is not None:
        raise SweepError(disk)


@contextmanager
def full_disk_named(folders: Iterable[Path]) -> Iterator[None]:
    """Turn any error on a full disk into a `SweepError` that names the folder.

    Args:
        folders: As `full_disk` takes them.
    """
    try:
        yield
    except DropLoRASweepError:
        raise
    except Exception as error:  # sqlite, MLflow and Ray each have an exception of their own.
        if (disk := full_disk(folders)) is None:
            raise
        raise SweepError(disk) from error


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Remembers the first signal; a context manager that restores the handlers.

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
