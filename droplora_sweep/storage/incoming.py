"""Folder that receives files in pieces, on the node of the sweep's driver.

What one trial leaves arrives in a folder of its own, a box. It counts once it is sealed: every file
is there, as long and with the digest that its sender gave, and on the disk. The ledger then moves
the files to where they are published. A driver that starts removes what an earlier one left.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory, sync_directory
from droplora_sweep.publishing import sha256_of

from .file_set import FileSet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .file_set import FileFacts


class IncomingFolder:
    """Boxes of files, below a folder that only one driver has.

    Args:
        folder: Result of `fresh_incoming`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, trial_id: str) -> str:
        """Make a box for what a trial leaves, and remove those of its earlier attempts.

        Returns:
            Its name.

        Raises:
            SweepError: The file system refuses.
        """
        name = new_box(trial_id)
        with disk_faults_named(self._folder):
            for earlier in self._folder.glob(f"{_prefix(trial_id)}-????????"):
                shutil.rmtree(earlier)
            self.box(name).mkdir(mode=0o700)
        return name

    def write(self, box: str, name: str, offset: int, piece: bytes) -> None:
        """Write a piece of a file; the same piece may come twice.

        Raises:
            SweepError: The file system refuses.
        """
        path = self._path(box, name)
        with disk_faults_named(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                left = memoryview(piece)
                while left:
                    num_written = os.pwrite(descriptor, left, offset)
                    left, offset = left[num_written:], offset + num_written
            finally:
                os.close(descriptor)

    def seal(self, box: str, files: Mapping[str, FileFacts]) -> FileSet:
        """Check a box and make it durable.

        Args:
            box: Its name.
            files: Every file's facts by name, as the sender has them.

        Raises:
            SweepError: A file is missing, cut off or damaged, or the file system refuses.
        """
        for name, facts in files.items():
            path = self._path(box, name)
            if not path.is_file():
                raise SweepError(f"{path}: must have arrived, but is missing")
            size_bytes = path.stat().st_size
            if size_bytes != facts.size_bytes:
                problem = f"must have {facts.size_bytes} bytes, got {size_bytes}"
                raise SweepError(f"{path}: {problem}: it was cut off on its way")
            if (sha256 := sha256_of(path)) != facts.sha256:
                problem = f"sha256 must be {facts.sha256}, got {sha256}"
                raise SweepError(f"{path}: {problem}: it was damaged on its way")
        return self.synced(box, files)

    def synced(self, box: str, files: Mapping[str, FileFacts]) -> FileSet:
        """Make a box durable whose files the caller has written itself.

        Raises:
            SweepError: The file system refuses.
        """
        with disk_faults_named(self.box(box)):
            for name in files:
                _sync(self._path(box, name))
            sync_directory(self.box(box))
        return FileSet(str(self.box(box)), files)

    def box(self, box: str) -> Path:
        """Return the folder of a box, which may not exist yet."""
        assert PurePosixPath(box).name == box, f"must be a plain name: {box}"
        return self._folder / box

    def drop(self, box: str) -> None:
        """Remove a box; does nothing where it is gone."""
        shutil.rmtree(self.box(box), ignore_errors=True)

    def _path(self, box: str, name: str) -> Path:
        relative = PurePosixPath(name)
        assert not relative.is_absolute(), f"must be inside its box: {name}"
        assert ".." not in relative.parts, f"must be inside its box: {name}"
        return self.box(box) / relative


def fresh_incoming(root: Path) -> Path:
    """Make the folder for one driver, and remove what earlier ones left.

    Its name is new, so that no process of an earlier driver writes there, and a node that does not
    see the driver's storage has no folder of this name.

    Raises:
        SweepError: The file system refuses.
    """
    folder = root / uuid.uuid4().hex
    with disk_faults_named(root):
        clear_incoming(root)
        make_private_directory(folder)
    return folder


def clear_incoming(root: Path) -> None:
    """Remove what has arrived and was not published."""
    if root.is_dir():
        shutil.rmtree(root)


def new_box(trial_id: str) -> str:
    """Return an unused name of a box."""
    return f"{_prefix(trial_id)}-{uuid.uuid4().hex[:8]}"


def _prefix(trial_id: str) -> str:
    return trial_id.replace("/", "-")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
