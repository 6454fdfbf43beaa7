"""The MLflow UI of a storage folder, started as `droplora-sweep ui` starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from droplora_sweep.mlflow_view.ui import ui_command
from tests.raylets import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from droplora_sweep.mlflow_view.ui import Login

START_LIMIT_S = 120


@contextlib.contextmanager
def running_ui(
    storage: Path, folder: Path, log_path: Path, login: Login | None = None
) -> Iterator[str]:
    """Its address, once it answers.

    Args:
        storage: Folder of the store.
        folder: Working directory of the server.
        log_path: Its log.
        login: User and password; None where it asks for none.
    """
    [port] = free_ports(1)
    command, environment = ui_command(storage, port, login)
    with log_path.open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while not _answers(f"{address}/health"):
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True
