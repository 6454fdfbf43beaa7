"""Places of a trial's checkpoints: its folder, or an object store; no torch, no Ray.

In an object store a checkpoint is one once its manifest is there, which is uploaded last and
removed first.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from droplora_sweep.files import disk_faults_named
from droplora_sweep.publishing import MANIFEST, publish_folder
from droplora_sweep.records.layout import CHECKPOINTS
from droplora_sweep.storage.object_store import ObjectStore, below, is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from droplora_sweep.publishing import Content


_NAME = re.compile(r"step-(\d{8,})")


def step_name(step: int) -> str:
    """Name of the checkpoint after so many optimiser steps."""
    return f"step-{step:08d}"


def step_of(name: str) -> int:
    """Optimiser steps before the checkpoint of this name; 0 where it is no checkpoint's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


class CheckpointPlace(Protocol):
    """Place of checkpoints by name, ``step-00000040``, each whole or not at all.

    Its text names it for messages. Every method raises OSError or SweepError where the file system
    or the store refuse.
    """

    def names(self) -> list[str]:
        """Every checkpoint, newest first."""

    def folder(self, name: str) -> AbstractContextManager[Path]:
        """A checkpoint as a folder, for as long as it is read."""

    def publish(self, name: str, files: Mapping[str, Content]) -> None:
        """Add a checkpoint, all of it or none."""

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints, and what writers that died have left."""

    def clear(self) -> None:
        """Remove them all; to be done once the trial's end is recorded."""


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

    def publish(self, name: str, files: Mapping[str, Content]) -> None:
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


class CheckpointsInStore:
    """The place below a URL (see `CheckpointPlace`); written and read through a scratch folder."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __str__(self) -> str:
        return self._url.partition("?")[0]

    @cached_property
    def _store(self) -> ObjectStore:
        # Only the worker that has the files opens it; the others need no credentials.
        return ObjectStore(self._url)

    def names(self) -> list[str]:
        """Every whole checkpoint, newest first."""
        keys = map(PurePosixPath, self._store.stamps(""))
        whole = [key.parts[0] for key in keys if key.name == MANIFEST and len(key.parts) == 2]
        return sorted(filter(step_of, whole), key=step_of, reverse=True)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A checkpoint as a folder, for as long as it is read."""
        with scratch_folder() as scratch:
            for key in self._store.stamps(name):
                path = scratch / key
                with disk_faults_named(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                self._store.download(key, path)
            yield scratch / name

    def publish(self, name: str, files: Mapping[str, Content]) -> None:
        """Add a checkpoint, all of it or none."""
        with scratch_folder() as scratch:
            publish_folder(scratch / name, files)
            self._remove({name})
            for file in (*files, MANIFEST):
                self._store.upload(f"{name}/{file}", scratch / name / file)

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints, and what writers that died have left."""
        kept = set(self.names()[:keep])
        self._remove({PurePosixPath(key).parts[0] for key in self._store.stamps("")} - kept)

    def clear(self) -> None:
        """Remove them all; to be done once the trial's end is recorded."""
        self.prune(0)

    def _remove(self, names: set[str]) -> None:
        for name in names:
            keys = self._store.stamps(name)
            for key in sorted(keys, key=lambda key: not key.endswith(MANIFEST)):
                self._store.delete(key)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder of this node, which is removed afterwards."""
    with disk_faults_named(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="droplora-checkpoint-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checkpoint_place(trial: str, name: str = CHECKPOINTS) -> CheckpointPlace:
    """The place of a trial's checkpoints.

    Args:
        trial: The trial's folder, or its URL.
        name: ``checkpoints``, or ``snapshots``.
    """
    if is_url(trial):
        return CheckpointsInStore(below(trial, name))
    return CheckpointsInFolder(Path(trial) / name)
