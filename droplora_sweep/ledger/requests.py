"""Requests to a sweep's driver from any host that sees the storage: stop, or act on a trial.

A request is a file in the sweep's folder; the driver takes it by renaming it, so that it is taken
once, and leaves its answer beside it. Each names the holding it is meant for: no later driver acts
on it. Who asks waits for the answer, and withdraws what no driver has taken.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.records.layout import LEASE, REQUESTS, STOP_REQUEST, sweep_directory

from .lease import find_holder
from .reader import require_sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .lease import Holder


def request_stop(storage: Path, name: str) -> Holder:
    """Ask the driver of a sweep to stop in order; it looks a few times a minute at least.

    The request names the holding it is meant for, so that it stops no later driver.

    Raises:
        SweepError: There is no such sweep, no driver of this machine or storage folder holds it, or
            the file system refuses.
    """
    require_sweep(storage, name)
    directory = sweep_directory(storage, name)
    holder = find_holder(directory / LEASE)
    if holder is None:
        raise SweepError(f"name: must be a running sweep, got {name}, which has no driver")
    with disk_faults_named(directory):
        replace_file(directory / STOP_REQUEST, holder.token.encode())
    return holder


def is_stop_requested(directory: Path, holder: Holder) -> bool:
    """Return whether this holder of the sweep in ``directory`` was asked to stop."""
    try:
        return (directory / STOP_REQUEST).read_text() == holder.token
    except FileNotFoundError:
        return False


ANSWER_S = 30.0
"""A driver looks a few times a second; at its start, or on a slow file system, less often."""
PAUSE_S = 0.1
ASKED, TAKEN, ANSWERED = ".request", ".taken", ".answer"


class Ask(StrEnum):
    """Kind of a request to a driver."""

    STOP_TRIAL = "stop-trial"
    PIN = "pin"
    CLONE = "clone"
    RETRY = "retry"


@dataclass(frozen=True)
class Request:
    """One request to a driver.

    Attributes:
        request_id: Names its files: the holding it is for, and a random part.
        ask: Its kind.
        trial_id: The trial that it is about.
        by: The user who asks: ``user@host``.
        spec: Of a clone, its whole spec as JSON values.
        from_adapter: True where a clone starts from the trial's adapter.
    """

    request_id: str
    ask: Ask
    trial_id: str
    by: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    from_adapter: bool = False


@dataclass(frozen=True)
class Answer:
    """Answer of a driver to a request.

    Attributes:
        is_done: True where the driver did it.
        text: The change that it made, or the reason why it made none.
    """

    is_done: bool
    text: str


class Mailbox:
    """The driver's side.

    Args:
        directory: The sweep's folder.
        token: This holding's.
    """

    def __init__(self, directory: Path, token: str) -> None:
        self._folder = directory / REQUESTS
        self._token = token

    def take(self) -> list[Request]:
        """The requests that have come since the last call, oldest first."""
        if not self._folder.is_dir():
            return []
        found = [path for path in self._folder.glob(f"{self._token}-*{ASKED}") if path.is_file()]
        taken = []
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
            try:
                moved = path.rename(path.with_suffix(TAKEN))
            except FileNotFoundError:
                # It was withdrawn just now.
                continue
            fields = json.loads(moved.read_text())
            taken.append(Request(**{**fields, "ask": Ask(fields["ask"])}))
        return taken

    def answer(self, request: Request, answer: Answer) -> None:
        """Tell who asked.

        Raises:
            SweepError: The file system refuses.
        """
        path = self._folder / f"{request.request_id}{ANSWERED}"
        with disk_faults_named(self._folder):
            replace_file(path, json.dumps(asdict(answer)).encode())
            (self._folder / f"{request.request_id}{TAKEN}").unlink(missing_ok=True)


def require_driver(storage: Path, name: str) -> Holder:
    """The driver that works on a sweep now.

    Raises:
        SweepError: There is no such sweep, or no driver of this machine or storage folder holds it.
    """
    require_sweep(storage, name)
    holder = find_holder(sweep_directory(storage, name) / LEASE)
    if holder is None:
        raise SweepError(
            f"name: must be a running sweep, got {name}, which has no driver; "
            f"`droplora-sweep resume {name}` starts one"
        )
    return holder


def ask_driver(
    storage: Path,
    name: str,
    ask: Ask,
    trial_id: str,
    *,
    spec: Mapping[str, Any] | None = None,
    from_adapter: bool = False,
    wait_s: float = ANSWER_S,
) -> str:
    """Ask the driver of a sweep for something, and wait for its answer.

    Returns:
        What it did.

    Raises:
        SweepError: There is no such sweep, no driver of this machine or storage folder holds it, it
            refuses or does not answer, or the file system refuses.
    """
    holder = require_driver(storage, name)
    directory = sweep_directory(storage, name)
    request_id = f"{holder.token}-{uuid.uuid4().hex[:12]}"
    request = Request(request_id, ask, trial_id, user_name(), spec or {}, from_adapter)
    folder = directory / REQUESTS
    with disk_faults_named(folder):
        make_private_directory(folder)
        replace_file(folder / f"{request_id}{ASKED}", json.dumps(asdict(request)).encode())
        answer = _wait(folder, request_id, wait_s) or _withdraw(folder, request_id, wait_s)
    if answer is None:
        raise SweepError(f"{name}: its driver ({holder}) has not answered; nothing was changed")
    if not answer.is_done:
        raise SweepError(answer.text)
    return answer.text


def _wait(folder: Path, request_id: str, wait_s: float) -> Answer | None:
    path = folder / f"{request_id}{ANSWERED}"
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if path.is_file():
            answer = Answer(**json.loads(path.read_text()))
            path.unlink()
            return answer
        time.sleep(PAUSE_S)
    return None


def _withdraw(folder: Path, request_id: str, wait_s: float) -> Answer | None:
    """Take the request back; where the driver has it already, its answer is waited for."""
    try:
        (folder / f"{request_id}{ASKED}").unlink()
    except FileNotFoundError:
        late = _wait(folder, request_id, wait_s)
        return late or Answer(False, "its driver took the request and died, or hangs; see `status`")
    return None


def user_name() -> str:
    """Return who works here, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
