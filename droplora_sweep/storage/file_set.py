"""Files in a folder by name, size and digest: what is passed around in place of their bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.publishing import MANIFEST, Received, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


@dataclass(frozen=True)
class FileFacts:
    """Facts about one file.

    Attributes:
        size_bytes: Its length.
        sha256: Its digest.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FileSet:
    """Files in a folder of the driver's node.

    Attributes:
        folder: The folder's path there.
        files: Each file's facts, by its name below the folder.
    """

    folder: str
    files: Mapping[str, FileFacts]

    @property
    def digests(self) -> dict[str, str]:
        """sha256 of each file, by name."""
        return {name: facts.sha256 for name, facts in self.files.items()}

    @property
    def size_bytes(self) -> int:
        """Length of all files together."""
        return sum(facts.size_bytes for facts in self.files.values())

    def path(self, name: str) -> Path:
        """Path of one file."""
        return Path(self.folder) / name

    def moved(self) -> dict[str, Received]:
        """Return the files as what a published folder takes over, by name."""
        return {name: Received(self.path(name), facts.sha256) for name, facts in self.files.items()}

    def copied(self) -> dict[str, Callable[[Path], None]]:
        """Return what copies each file to a path, by name."""
        return {name: partial(_copy, self.path(name)) for name in self.files}


def described(folder: Path) -> FileSet:
    """Return all files of a folder, which are read for their digests."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = {
        path.relative_to(folder).as_posix(): FileFacts(path.stat().st_size, sha256_of(path))
        for path in paths
    }
    return FileSet(str(folder), facts)


def published(folder: Path, *, without: Collection[str] = ()) -> FileSet:
    """Return the files of a published folder that was verified, as its manifest has them.

    Args:
        folder: The folder.
        without: Names of files that are left out, as the manifest is.
    """
    entries = json.loads((folder / MANIFEST).read_bytes())["files"]
    facts = {
        name: FileFacts(entry["size_bytes"], entry["sha256"])
        for name, entry in entries.items()
        if name not in without
    }
    return FileSet(str(folder), facts)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
