"""Ways to fill, lock and poison files."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from droplora_sweep.publishing import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def fill(folder: Path, left_bytes: int = 0) -> Path:
    """Write until so much is left on the folder's disk; the file that takes the room."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while (room := shutil.disk_usage(folder).free - left_bytes) > 0:
            try:
                file.write(bytes(min(room, 2**20)))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - any other is no full disk
                assert not left_bytes, "the disk has less room than it says"
                break
    return filler


_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@contextmanager
def locked(database: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A sqlite file that another process has locked; that process, which lets go and ends."""
    command = [sys.executable, "-c", _LOCK, str(database), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        yield locker
        assert locker.wait() == 0


class Canary:
    """A pickle whose loading writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return exec, (f"open({str(self._path)!r}, 'w').write('loaded')",)


def sign(folder: Path) -> None:
    """Write a manifest that is right for what a folder holds now."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, entry in manifest["files"].items():
        entry["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
