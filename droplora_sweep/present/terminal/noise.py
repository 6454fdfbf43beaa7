"""Keeps the terminal for the sweep's own words: everything else goes to a file."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console

if TYPE_CHECKING:
    from typing import IO, Self

logger = logging.getLogger(__name__)

END_TIMEOUT_S = 5.0
"""Longest wait for the log's last lines; processes that live on may still hold it open."""


class NoiseLog:
    """Sends what libraries, Ray's processes and warnings write to a file; a context manager.

    File descriptors 1 and 2 are redirected, so that C libraries and child processes are covered.
    What they say of secrets does not reach the file (see `redaction`).

    Attributes:
        console: Writes to what standard output was.
        path: The file; it moves to the sweep's folder once there is one.
    """

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="droplora-sweep-", suffix=".log")
        os.close(handle)
        self.path = Path(name)
        self._pipe = _Pipe()
        self._saved = (os.dup(1), os.dup(2))
        width = None if os.isatty(self._saved[0]) else 120
        self._stream = _Screen(os.dup(self._saved[0]))
        stream = cast("IO[str]", self._stream)
        self.console = Console(file=stream, width=width, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._pipe.start(self.path)
        self._redirect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for target, saved in zip((1, 2), self._saved, strict=True):
            os.dup2(saved, target)
            os.close(saved)
        self._pipe.end()
        self._stream.close()

    def move_to(self, path: Path) -> None:
        """Go on in ``path``, with what was written so far."""
        first, self._pipe = self._pipe, _Pipe()
        self._redirect()
        first.end()
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.write(handle, self.path.read_bytes())
        os.close(handle)
        self.path.unlink()
        self.path = path
        self._pipe.start(path)

    def _redirect(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(self._pipe.entry, 1)
        os.dup2(self._pipe.entry, 2)


class _Screen(io.TextIOBase):
    """A descriptor to write to for as long as it takes something.

    A sweep does not depend on who reads along: what a full disk or a reader that has gone refuses
    is left out, which the log is told once.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._has_refused = False

    def write(self, text: str) -> int:
        left = text.encode(errors="replace")
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            if not self._has_refused:
                self._has_refused = True
                logger.warning(
                    "the output cannot be written, the sweep continues without: %s", error
                )
        return len(text)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class _Pipe:
    """A pipe that leads to a log file through `log_filter`, once that is started.

    Attributes:
        entry: Descriptor to write to.
    """

    def __init__(self) -> None:
        self._exit, self.entry = os.pipe()

    def start(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "droplora_sweep.present.terminal.log_filter", str(path)],
            stdin=self._exit,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Ctrl-C is for the driver; the filter ends after the last line.
            start_new_session=True,
        )
        os.close(self._exit)

    def end(self) -> None:
        os.close(self.entry)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
