"""Process of a server beside this one: started, spoken to, and ended whatever happens.

The server inherits one end of a socket without an address, and both sides send a line of JSON per
message. It has a session of its own, so that all it has started ends with it.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRACE_S = 5.0
"""Seconds that a server has to end by itself after its socket was closed."""
_POLL_S = 1.0
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt|Exit)\b.*")
_CHUNK_BYTES = 1 << 20


class ServerError(Exception):
    """A server gives no answer; its text says why, in one line."""


class ServerProcess:
    """A server process and the socket to it.

    It is ended by `close`, when this object is collected, and when this process ends in order; a
    server that asks the kernel for it (``PR_SET_PDEATHSIG``) also where this process is killed.

    Args:
        command: The program; the socket's file descriptor and this process's number are added as
            its last arguments.
        environ: Its environment variables.
        name: The server's name, in messages.
        on_wait: Called about once a second while an answer is awaited, and at each message.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        name: str,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._on_wait = on_wait
        self._received = b""
        self._folder = tempfile.TemporaryDirectory(prefix="droplora-server-")
        self._log = Path(self._folder.name) / "log"
        self._socket, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        try:
            with theirs, self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [*command, str(descriptor), str(os.getpid())],
                    env=dict(environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                )
        except OSError as error:
            self._socket.close()
            self._folder.cleanup()
            raise ServerError(f"{name} cannot be started: {error}") from error
        self._end = weakref.finalize(self, _end, self._process, self._socket, self._folder)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it is ended."""
        return self._end.alive

    def send(self, message: Mapping[str, Any], limit_s: float) -> None:
        """Send a message.

        Raises:
            ServerError: The server has ended, or takes nothing for ``limit_s``.
        """
        self._socket.settimeout(limit_s)
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except TimeoutError as error:
            raise self._failure(f"took no message for {limit_s:.0f} s") from error
        except OSError as error:
            raise self._failure(self._exit_text()) from error

    def receive(self, limit_s: float) -> dict[str, Any]:
        """Return the next message.

        Raises:
            ServerError: The server has ended, says nothing for ``limit_s``, or says nonsense.
        """
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._received:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._failure(f"gave no sign for {limit_s:.0f} s")
            if not select.select([self._socket], [], [], min(left_s, _POLL_S))[0]:
                self._on_wait()
                continue
            try:
                more = self._socket.recv(_CHUNK_BYTES)
            except OSError:
                more = b""
            if not more:
                raise self._failure(self._exit_text())
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        self._on_wait()
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or "kind" not in message:
            raise self._failure(f"answered what is no message: {line[:100]!r}")
        return message

    def memory_bytes(self) -> int:
        """Return the memory that it holds; 0 where it has ended."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self, *, grace_s: float = GRACE_S) -> None:
        """End the process and all that it has started; again: nothing.

        Args:
            grace_s: Time that it has to end by itself.
        """
        if self.is_running:
            self._socket.close()
            _await_exit(self._process.pid, grace_s)
        self._end()

    def _failure(self, what: str) -> ServerError:
        self.close(grace_s=0.0)
        return ServerError(f"{self._name} {what}")

    def _exit_text(self) -> str:
        """Return how it ended, with the last error of its log."""
        _await_exit(self._process.pid, _POLL_S)
        code = self._process.poll()
        how = "closed its socket"
        if code is not None:
            how = f"ended with code {code}"
            if code < 0:
                how = f"was ended by {signal.Signals(-code).name}"
        last = last_error(self._log)
        return f"{how}: {last}" if last else how


def last_error(log: Path) -> str:
    """Return the last line of a log that tells of an error, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    except OSError:
        return ""
    lines = [line for line in lines if line]
    errors = [line for line in lines if _EXCEPTION.fullmatch(line)]
    return (errors or lines or [""])[-1][:300]


def _await_exit(pid: int, limit_s: float) -> None:
    """Wait for an exit, which is left for others to collect: until then its number is its own."""
    deadline = time.monotonic() + limit_s
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):
        while os.waitid(os.P_PID, pid, options) is None and time.monotonic() < deadline:
            time.sleep(0.02)


def _end(
    process: subprocess.Popen[bytes],
    connection: socket.socket,
    folder: tempfile.TemporaryDirectory[str],
) -> None:
    connection.close()
    # Also where it has ended by itself: what it had started may be there still.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    folder.cleanup()
