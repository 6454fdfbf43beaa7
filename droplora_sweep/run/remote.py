"""A sweep whose driver runs on the head node of a cluster that is reached by Ray Client.

Under ``ray://`` Ray Tune moves itself to the cluster, away from the ledger that its callbacks
write; so the whole driver goes there. Its output is shown here, and Ctrl-C here interrupts it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.storage.object_store import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REMOTE = "ray://"
"""Beginning of a Ray Client server's address."""
WAIT_S = 5.0
PACKAGE = Path(__file__).parents[1]
_PR_SET_PDEATHSIG = 1


class _RemoteDriver:
    """An actor on the head node: runs the command line there and keeps its output."""

    def __init__(self, name: str, text: str, storage: str, options: Sequence[str]) -> None:
        import ray

        folder = Path(tempfile.mkdtemp(prefix="droplora-"))
        (folder / name).write_text(text, encoding="utf-8")
        address = ray.get_runtime_context().gcs_address
        command = [sys.executable, "-m", "droplora_sweep", "run", name, *options]
        place = storage if is_url(storage) else Path.home() / storage
        command += ["--set", f"storage={place}"]
        self._process = subprocess.Popen(
            [*command, "--address", address],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # The driver ends in order when this actor does, e.g. when the client is gone.
            preexec_fn=lambda: ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def lines(self, start: int, wait_s: float) -> tuple[list[str], int | None]:
        """Return lines from number ``start`` on, and the exit code once these are the last."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._lines) > start or not self._reader.is_alive(), wait_s
            )
            is_done = not self._reader.is_alive()
            return self._lines[start:], self._process.wait() if is_done else None

    def interrupt(self) -> None:
        """Ask the driver to end in order."""
        self._process.send_signal(signal.SIGINT)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()


def connection_fault(address: str, error: Exception) -> str:
    """Return one line on a Ray Client that cannot connect.

    A cluster that answers and starts no server process for the client, as one that is busy for too
    long, says why in the last line of what it answers.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ConnectionAbortedError):
        return (
            f"--address: the Ray cluster at {address} answers, but has started no process for this "
            f"client: {lines[-1]}; try again, or submit the sweep as a Ray job"
        )
    return f"--address: no Ray cluster answers at {address}: {lines[0]}"


def run_remotely(
    address: str,
    name: str,
    text: str,
    storage: str,
    show: Callable[[str], None],
    *,
    fork: str | None = None,
) -> int:
    """Run a sweep with its driver on the head node.

    Args:
        address: ``ray://host:port``.
        name: File name of the search space.
        text: The file in one piece; models and data it names are those of the head node.
        storage: The sweep's; a relative one lies in the head node's home folder.
        show: Takes each line the driver prints.
        fork: Name of a new sweep that starts from the results of the file's.

    Returns:
        The driver's exit code.

    Raises:
        SweepError: No Ray Client server answers, or it, or the driver's actor, is gone.
    """
    import ray

    from droplora_sweep.groups.pool import HEAD_SHARE

    try:
        ray.init(address=address, runtime_env={"py_modules": [str(PACKAGE)]}, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SweepError(connection_fault(address, error)) from error
    actor: Any = ray.remote(_RemoteDriver)
    options = [] if fork is None else ["--fork", fork]
    try:
        driver = actor.options(num_cpus=0, resources=HEAD_SHARE, max_concurrency=4).remote(
            name, text, storage, options
        )
        return _follow(driver, show)
    except (ray.exceptions.RayActorError, ConnectionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SweepError(
            f"lost contact with the driver on the head node of {address}: {reason}; it ends in "
            "order where it can, and `droplora-sweep resume` continues from its storage"
        ) from error
    finally:
        ray.shutdown()


def _follow(driver: Any, show: Callable[[str], None]) -> int:
    """Show the driver's lines until it ends; Ctrl-C here interrupts it there, and is waited for."""
    import ray

    num_shown = 0
    code: int | None = None
    while code is None:
        try:
            answer: Any = ray.get(driver.lines.remote(num_shown, WAIT_S))
        except KeyboardInterrupt:
            ray.get(driver.interrupt.remote())
            continue
        lines, code = answer
        num_shown += len(lines)
        for line in lines:
            show(line)
    return code
