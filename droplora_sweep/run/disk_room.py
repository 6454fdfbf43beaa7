"""Whether the disks that a sweep writes to have room, before one of them is full."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from droplora_sweep.errors import DropLoRASweepError, SweepError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

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
