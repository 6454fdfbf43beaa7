"""A trial's checkpoints in an object store, where the sweep's storage is a URL; no torch.

A checkpoint is one once its manifest is there, which is uploaded last and removed first.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.files import disk_faults_named
from droplora_sweep.publishing import MANIFEST, publish_folder
from droplora_sweep.storage import ObjectStore

from .folders import step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


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
        with _scratch() as scratch:
            for key in self._store.stamps(name):
                path = scratch / key
                with disk_faults_named(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                self._store.download(key, path)
            yield scratch / name

    def publish(self, name: str, files: Mapping[str, bytes | Callable[[Path], None]]) -> None:
        """Add a checkpoint, all of it or none."""
        with _scratch() as scratch:
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
def _scratch() -> Iterator[Path]:
    with disk_faults_named(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="droplora-checkpoint-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
