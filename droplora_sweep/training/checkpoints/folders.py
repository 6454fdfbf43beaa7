"""A trial's checkpoints in a folder: which there are, and which may go; no torch."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from droplora_sweep.publishing import publish_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

CHECKPOINTS = "checkpoints"
SNAPSHOTS = "snapshots"
"""Of a population's members, at each evaluation; see `Snapshots`."""
_NAME = re.compile(r"step-(\d{8,})")


def step_name(step: int) -> str:
    """Name of the checkpoint after so many optimiser steps."""
    return f"step-{step:08d}"


def step_of(name: str) -> int:
    """Optimiser steps before the checkpoint of this name; 0 where it is no checkpoint's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


class CheckpointsInFolder:
    """The place in a trial's folder (see `CheckpointPlace`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def names(self) -> list[str]:
        """Every checkpoint, newest first, damaged ones too."""
        if not self._folder.is_dir():
            return []
        names = [path.name for path in self._folder.iterdir()]
        return sorted(filter(step_of, names), key=step_of, reverse=True)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A checkpoint's folder."""
        yield self._folder / name

    def publish(self, name: str, files: Mapping[str, bytes | Callable[[Path], None]]) -> None:
        """Add a checkpoint, all of it or none."""
        publish_folder(self._folder / name, files)

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints, and what writers that died have left."""
        old = [self._folder / name for name in self.names()[keep:]]
        for path in (*old, *self._folder.glob(".step-*")):
            shutil.rmtree(path)

    def clear(self) -> None:
        """Remove them all; to be done once the trial's end is recorded."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)
