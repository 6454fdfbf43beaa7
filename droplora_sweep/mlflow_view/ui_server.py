"""The MLflow UI's processes, which end when the command that started them is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 10.0
POLL_S = 0.1


def serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server until it ends, or until this process is told to end.

    The server and what it starts are a process group of their own, and are all told to end.

    Args:
        command: What is run.
        environment: What its environment has in addition to this process's.

    Returns:
        0 where this process was told to end, else the server's exit code.
    """
    with _signals_noted() as noted:
        server = subprocess.Popen(
            command, env={**os.environ, **environment}, start_new_session=True
        )
        try:
            while server.poll() is None and not noted:
                time.sleep(POLL_S)
        finally:
            _end(server)
    return 0 if noted else server.returncode


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note signals that end a process instead of ending at once; ignored ones stay ignored."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number))
        for number in SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server's group: with grace, then without."""
    deadline = time.monotonic() + GRACE_S
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            # A group that has no process any more is no group, which ends this loop.
            server.poll()
            os.killpg(server.pid, 0)
            time.sleep(POLL_S)
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
