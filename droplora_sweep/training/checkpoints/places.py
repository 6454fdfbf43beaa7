"""Where a trial's checkpoints are: in its folder, or below a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from droplora_sweep.storage import below, is_url

from .folders import CHECKPOINTS, CheckpointsInFolder
from .in_store import CheckpointsInStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager


class CheckpointPlace(Protocol):
    """Keeps checkpoints by name, ``step-00000040``, each whole or not at all.

    Every method raises OSError or SweepError where the file system or the store refuse.
    """

    def names(self) -> list[str]:
        """The checkpoints, newest first; there may be damaged ones among them."""

    def folder(self, name: str) -> AbstractContextManager[Path]:
        """A checkpoint as a folder, for as long as it is read."""

    def publish(self, name: str, files: Mapping[str, bytes | Callable[[Path], None]]) -> None:
        """Add a checkpoint, all of it or none."""

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints, and what writers that died have left."""

    def clear(self) -> None:
        """Remove them all; to be done once the trial's end is recorded."""


def checkpoint_place(trial: str, name: str = CHECKPOINTS) -> CheckpointPlace:
    """The place of a trial's checkpoints.

    Args:
        trial: The trial's folder, or its URL.
        name: ``checkpoints``, or ``snapshots``.
    """
    if is_url(trial):
        return CheckpointsInStore(below(trial, name))
    return CheckpointsInFolder(Path(trial) / name)
