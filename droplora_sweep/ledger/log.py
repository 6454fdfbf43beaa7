"""The append-only file of events, the durable truth of a sweep, and where it can be made to fail.

A line counts once ``append`` has returned: it is then on the disk. A crash can leave one torn
line at the end, of an event that was not announced to anyone; readers leave it out and say so.
Damage anywhere else is an error.

``DROPLORA_FAILPOINT=NAME`` (or ``NAME:N`` for the N-th time it is reached) kills the process with
SIGKILL there, between two steps of a commit. Without the variable nothing happens.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.files import sync_directory
from droplora_sweep.records.events import (
    DamagedLineError,
    Event,
    EventKind,
    UnknownEventError,
    decode,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


VARIABLE = "DROPLORA_FAILPOINT"

FAILPOINTS = (
    "sweep-folder-made",
    "sweep-started",
    "sweep-resumed",
    "trial-folder-made",
    "trial-started",
    "trial-reported",
    "trial-ended",
    "adapter-half-written",
    "adapter-published",
    "results-written",
    "trial-finished",
    "test-results-written",
    "trial-tested",
    "sweep-finished",
)
"""Each lies right after the step that its name tells of; one is in the middle of a step."""

RARE_FAILPOINTS = (
    "trial-adjusted",
    "trial-stop-asked",
    "trial-pinned",
    "trial-cloned",
    "trial-retried",
    "trial-turned",
    "reference-scored",
)
"""The same, of events that only some sweeps have."""

_times_reached: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    known = (*FAILPOINTS, *RARE_FAILPOINTS)
    assert name in known, f"must be one of {', '.join(known)}, got {name}"
    wanted, _, count = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _times_reached[name] += 1
    if _times_reached[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)


class EventLog:
    """Writer of one sweep's events; calls must not overlap."""

    def __init__(self, path: Path, descriptor: int, next_seq: int, size_bytes: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._next_seq = next_seq
        self._size_bytes = size_bytes

    @classmethod
    def create(cls, path: Path) -> EventLog:
        """A new log; its file must not exist yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        descriptor = os.open(path, flags, 0o600)
        sync_directory(path.parent)
        return cls(path, descriptor, 0, 0)

    @classmethod
    def reopen(cls, path: Path, read: EventsRead) -> EventLog:
        """Go on after the last whole event; a torn line after it is cut off.

        A last line that lacks only its end is whole, and gets it.

        Args:
            path: A log that no other process writes.
            read: Its events, as read.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        if os.fstat(descriptor).st_size < read.size_bytes:
            os.write(descriptor, b"\n")
        os.ftruncate(descriptor, read.size_bytes)
        os.fsync(descriptor)
        return cls(path, descriptor, len(read.events), read.size_bytes)

    def next_event(self, kind: EventKind, payload: Mapping[str, Any]) -> Event:
        """The event that ``append`` takes next."""
        return Event(seq=self._next_seq, time=_now(), kind=kind, payload=payload)

    def append(self, event: Event) -> None:
        """Write one event; it is on the disk when this returns.

        Raises:
            SweepError: If the file system refuses; the log then ends as before the call.
        """
        assert event.seq == self._next_seq, f"must be event {self._next_seq}, got {event.seq}"
        line = encode(event)
        try:
            self._write(line)
        except OSError as error:
            self._cut_back()
            raise SweepError(f"{self._path}: cannot write: {error.strerror}") from error
        self._next_seq += 1
        self._size_bytes += len(line)

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        written = 0
        while written < len(line):
            written += os.write(self._descriptor, line[written:])
        os.fsync(self._descriptor)

    def _cut_back(self) -> None:
        # Without this, a disk that fills and empties leaves a damaged line in the middle.
        os.ftruncate(self._descriptor, self._size_bytes)
        os.fsync(self._descriptor)


@dataclass(frozen=True)
class EventsRead:
    """Every whole event of a log, and whether it ends in a torn line.

    Attributes:
        events: In order.
        size_bytes: Length of their lines, each with its end.
        torn: Place and fault of the torn line, None if there is none.
    """

    events: tuple[Event, ...]
    size_bytes: int
    torn: str | None = None


def read_events(path: Path) -> EventsRead:
    """Read a log, also one that a driver is writing to.

    Raises:
        SweepError: If a line other than the last is damaged, one is missing, or one is of a kind
            that only a newer version knows.
    """
    return _read(path, path.read_bytes(), num_before=0)


class LogReader:
    """Reads on in a log that a driver writes to, from where it last came to.

    Args:
        path: The log.

    Attributes:
        num_events: Whole events so far.
        torn: Place and fault of the last line, where that was not whole at the last look; it is
            read again at the next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size_bytes = 0
        self._last = b""
        self.num_events = 0
        self.torn: str | None = None

    def read_on(self) -> tuple[Event, ...] | None:
        """Return the whole events since the last call; None where the log is another one now.

        It is where a URL's mirror was brought to what the URL holds; it then has to be read anew.

        Raises:
            SweepError: As `read_events`.
        """
        with self._path.open("rb") as file:
            # A last line that lacks only its end is whole, and was counted with it.
            file.seek(self._size_bytes - len(self._last))
            found = file.read()
        if found[: len(self._last)].rstrip(b"\n") != self._last.rstrip(b"\n"):
            return None
        content = found[len(self._last) :]
        read = _read(self._path, content, num_before=self.num_events)
        if read.events:
            whole = content[: read.size_bytes].rstrip(b"\n")
            self._last = whole[whole.rfind(b"\n") + 1 :] + b"\n"
        self.num_events += len(read.events)
        self._size_bytes += read.size_bytes
        self.torn = read.torn
        return read.events


def _read(path: Path, content: bytes, *, num_before: int) -> EventsRead:
    """Read what stands after so many whole events."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    events: list[Event] = []
    size_bytes = 0
    for number, line in enumerate(lines, start=num_before + 1):
        try:
            event = decode(line)
        except DamagedLineError as error:
            problem = f"{path}:{number}: {error}"
            if number == num_before + len(lines):
                return EventsRead(tuple(events), size_bytes, torn=problem)
            raise SweepError(problem) from error
        except UnknownEventError as error:
            raise SweepError(f"{path}:{number}: {error}") from error
        if event.seq != number - 1:
            raise SweepError(f"{path}:{number}: seq must be {number - 1}, got {event.seq}")
        events.append(event)
        size_bytes += len(line) + 1
    return EventsRead(tuple(events), size_bytes)


def _now() -> datetime:
    # Whole milliseconds are what the file keeps: an event is the same before and after.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
