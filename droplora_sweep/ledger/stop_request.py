"""How another process, on any host that sees the storage, asks a sweep's driver to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, replace_file
from droplora_sweep.records.layout import LEASE, STOP_REQUEST, sweep_directory

from .lease import find_holder
from .sweep_folders import require_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from .lease import Holder


def request_stop(storage: Path, name: str) -> Holder:
    """Ask the driver of a sweep to stop in order; it looks a few times a minute at least.

    The request names the holding it is meant for, so that it stops no later driver.

    Raises:
        SweepError: There is no such sweep, no driver of this machine or storage folder holds it, or
            the file system refuses.
    """
    require_sweep(storage, name)
    directory = sweep_directory(storage, name)
    holder = find_holder(directory / LEASE)
    if holder is None:
        raise SweepError(f"name: must be a running sweep, got {name}, which no driver holds")
    with disk_faults_named(directory):
        replace_file(directory / STOP_REQUEST, holder.token.encode())
    return holder


def is_stop_requested(directory: Path, holder: Holder) -> bool:
    """Whether this holder of the sweep in ``directory`` was asked to stop."""
    try:
        return (directory / STOP_REQUEST).read_text() == holder.token
    except FileNotFoundError:
        return False
