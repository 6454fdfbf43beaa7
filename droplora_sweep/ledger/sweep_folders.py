"""Which sweeps a storage folder holds, and which names are free in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.records.layout import EVENTS, LEASE, SPEC, sweep_directory
from droplora_sweep.storage import mirror_of, storage_name

from .log import read_events
from .remote_copy import fetch_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from .log import EventsRead


def sweep_names(storage: Path) -> list[str]:
    """Names of the sweeps in a storage folder, sorted; none where the folder is missing."""
    return sorted(path.parent.name for path in storage.glob(f"*/{EVENTS}"))


def has_sweep(storage: Path, name: str) -> bool:
    """Whether a sweep of this name has begun, finished or not.

    Raises:
        SweepError: The name is that of something else in the storage folder.
    """
    path = sweep_directory(storage, name) / EVENTS
    fetch_sweep(storage, name)
    return path.is_file() and bool(read_events(path).events)


def require_new(storage: Path, name: str) -> Path:
    """The folder of a sweep that has not begun, which need not exist.

    A driver that was killed in its first moments leaves a folder without a whole event; nothing is
    lost by using it again.

    Raises:
        SweepError: A sweep or anything else has this name.
    """
    directory = sweep_directory(storage, name)
    if directory.exists() and (has_sweep(storage, name) or not _is_stillborn(directory)):
        raise SweepError(
            f"name: must be new in {storage_name(directory.parent)}, got {name}, which exists; "
            "choose another with --name"
        )
    return directory


def require_sweep(storage: Path, name: str) -> None:
    """See that a sweep has this name.

    Raises:
        SweepError: None has.
    """
    fetch_sweep(storage, name)
    names = sweep_names(storage)
    if name not in names:
        mirror = mirror_of(storage)
        names = names if mirror is None else mirror.names()
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise SweepError(f"name: must be a sweep in {storage_name(storage)}, got {name!r}; {known}")


def read_sweep(directory: Path) -> EventsRead:
    """The events of a sweep that has begun.

    Raises:
        SweepError: It has not, or its log is damaged.
    """
    read = read_events(directory / EVENTS)
    if not read.events:
        raise SweepError(
            f"{directory}: the sweep was interrupted before it started; run its file again"
        )
    return read


def _is_stillborn(directory: Path) -> bool:
    """Whether a folder has no more than what is written before a sweep's first event."""
    first = {EVENTS, LEASE, SPEC}
    return directory.is_dir() and all(
        path.name in first or path.name.startswith(".") for path in directory.iterdir()
    )
