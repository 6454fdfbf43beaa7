"""Ways to the dashboard of a cluster that Ray's launcher made."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60.0
"""An SSH connection to another continent takes a few seconds; a wrong address much longer."""
RAY = Path(sys.executable).with_name("ray")


@contextlib.contextmanager
def tunnel_to(cluster: Path) -> Iterator[str]:
    """Yield the address of a launcher's cluster's dashboard, through ``ray dashboard`` and SSH.

    Args:
        cluster: The launcher's file.

    Raises:
        InputError: There is no such file, or the tunnel does not open.
    """
    if not cluster.is_file():
        problem = f"must be the file that `ray up` was given, got {cluster}, which is not there"
        raise InputError.of("--cluster", problem)
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [RAY, "dashboard", cluster, f"--port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _await(process, port, cluster)
            yield f"http://127.0.0.1:{port}"
        except _NotOpenError as error:
            log.seek(0)
            lines = log.read().decode(errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()] or ["it said nothing"]
            problem = f"must lead to a head node that SSH reaches, got {cluster}: {said[-1]}"
            raise InputError.of("--cluster", problem) from error
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


class _NotOpenError(Exception):
    """The tunnel does not open in time, or its process has ended."""


def _await(process: subprocess.Popen[bytes], port: int, cluster: Path) -> None:
    end_by = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_by:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise _NotOpenError(str(cluster))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
