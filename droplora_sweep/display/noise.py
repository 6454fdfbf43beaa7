"""Keeps the terminal for the sweep's own words: everything else goes to a file."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from typing import Self


class NoiseLog:
    """Sends what libraries, Ray's processes and warnings write to a file; a context manager.

    File descriptors 1 and 2 are redirected, so that C libraries and child processes are covered.

    Attributes:
        console: Writes to what standard output was.
        path: The file; it moves to the sweep's folder once there is one.
    """

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="droplora-sweep-", suffix=".log")
        self.path = Path(name)
        self._file = handle
        self._saved = (os.dup(1), os.dup(2))
        width = None if os.isatty(self._saved[0]) else 120
        self._stream = os.fdopen(os.dup(self._saved[0]), "w", buffering=1, encoding="utf-8")
        self.console = Console(file=self._stream, width=width, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._redirect(self._file)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for target, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, target)
            os.close(saved)
        os.close(self._file)
        self._stream.close()

    def move_to(self, path: Path) -> None:
        """Go on in ``path``, with what was written so far."""
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.write(handle, self.path.read_bytes())
        self._redirect(handle)
        os.close(self._file)
        self.path.unlink()
        self.path, self._file = path, handle

    @staticmethod
    def _redirect(handle: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(handle, 1)
        os.dup2(handle, 2)
