"""Which files of a mirror are as the store has them, remembered between processes.

Two contents of one length are common here (adapters of one rank), so a length tells nothing. A file
is known to be what the store holds when neither it nor its object has changed since both were seen
to be the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from droplora_sweep.files import disk_faults_named, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from .object_store import Stamp

INDEX = ".mirrored.json"


class Index:
    """The files of one sweep's folder that are known to be what the store holds."""

    def __init__(self, root: Path, sweep: str) -> None:
        """Read what an earlier process found; one that cannot be read knows nothing."""
        self._root = root
        self._file = root / sweep / INDEX
        try:
            self._seen: dict[str, list[list[str | int]]] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            self._seen = {}

    def keys(self) -> set[str]:
        """Every key that was noted."""
        return set(self._seen)

    def note(self, key: str, stamp: Stamp) -> None:
        """The file and its object, which has this stamp, are the same now."""
        self._seen[key] = [self._state(key), _of(stamp)]

    def forget(self, key: str) -> None:
        """The object or the file is gone."""
        self._seen.pop(key, None)

    def is_pushed(self, key: str) -> bool:
        """Whether the file has not changed since it was noted."""
        return key in self._seen and self._seen[key][0] == self._state(key)

    def is_pulled(self, key: str, stamp: Stamp) -> bool:
        """Whether neither the file nor its object has changed since they were noted."""
        return self.is_pushed(key) and self._seen[key][1] == _of(stamp)

    def save(self) -> None:
        """Keep it for the next process.

        Raises:
            SweepError: The file system refuses.
        """
        with disk_faults_named(self._file):
            replace_file(self._file, json.dumps(self._seen).encode())

    def _state(self, key: str) -> list[str | int]:
        try:
            status = (self._root / key).stat()
        except FileNotFoundError:
            return []
        return [status.st_size, status.st_mtime_ns]


def _of(stamp: Stamp) -> list[str | int]:
    return [stamp.size_bytes, stamp.written.isoformat()]
