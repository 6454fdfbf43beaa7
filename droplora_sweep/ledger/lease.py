"""The lease of a sweep's ledger: one driver at a time, named in the file ``driver.lease``.

A driver takes the lease, renews it every 5 s, and gives it back at its end. Another driver is
refused while the holder lives. A holder that died is succeeded: at once where its process can be
seen to be gone, else when it has not renewed for 30 s. Each write is *fenced*: it happens under the
file's lock and only while the file still names the writer. So a driver that was frozen, and
succeeded meanwhile, writes nothing when it wakes.

Three limits:

* *Clocks.* The age of a lease is the difference between two modification times that the file
  system gives, the lease's and that of a file made for the comparison. Clocks of hosts may differ
  by any amount; on NFS it is the server's clock that counts. The times within the file are shown
  to people and decide nothing.
* *Locks.* ``flock`` must hold between hosts that share a storage folder. Linux does so on NFS
  (v4, or v3 with lockd), on CephFS and on Lustre mounted with ``flock``. On a mount that locks
  per host (``nolock``, ``localflock``) two drivers that start in the same instant on two hosts
  can both take the lease; the loser finds out at its next event or renewal.
* *Processes.* Whether a holder lives is read from ``/proc``, on Linux alone; elsewhere a lease
  has to expire.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, temporary_beside

if TYPE_CHECKING:
    from collections.abc import Iterator


PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, distinguished from every other that had or will have its pid.

    Attributes:
        host: Name of its machine, for people.
        pid: Its id among the processes that its machine or container shows.
        started: Clock ticks from the machine's boot to its start; None where not known.
        machine: Boot and pid namespace, e.g. one container until it or its machine restarts.
            Hosts' names do not tell: containers may share one, or keep it over a restart.
    """

    host: str
    pid: int
    started: int | None
    machine: str

    def is_gone(self) -> bool:
        """Return whether it is known to have ended; nothing is known on other machines."""
        if self.machine != _machine() or self.started is None:
            return False
        return _start_ticks(self.pid) != self.started


def this_process() -> Process:
    """The process that asks."""
    return Process(socket.gethostname(), os.getpid(), _start_ticks(os.getpid()), _machine())


def _machine() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    """Start of a living process; None where there is none, or one that only waits for burial."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name before ")" may hold spaces; state is field 3 of stat(5), starttime field 22.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in ("Z", "X") else int(fields[18])


HEARTBEAT_S = 5.0
"""A holder renews its lease this often."""
EXPIRY_S = 30.0
"""A lease that was not renewed for this long is free: six missed heartbeats."""
LOCK_WAIT_S = 10.0
"""A lock that is held longer is that of a process frozen while it writes."""


class LeaseLostError(SweepError):
    """Another driver took the sweep over; this one must not write any more."""


@dataclass(frozen=True)
class Holder:
    """Driver that a lease names.

    Attributes:
        process: The driver.
        token: Random; the name of this one holding.
        since: Time at which the lease was taken, UTC by the holder's clock.
        heartbeat: Time of the last renewal, UTC by the holder's clock.
    """

    process: Process
    token: str
    since: datetime
    heartbeat: datetime

    def __str__(self) -> str:
        process = self.process
        return f"{process.host}, pid {process.pid}, since {self.since.isoformat(' ', 'seconds')}"


@dataclass(frozen=True)
class Found:
    """A lease file at one instant.

    Attributes:
        holder: None where no driver has taken the lease, or the file is torn.
        age_s: Seconds since it was last written, by the file system's clock.
        is_gone: True where the holder's process can be seen to have ended.
    """

    holder: Holder | None
    age_s: float
    is_gone: bool = False


def living_holder(found: Found) -> Holder | None:
    """The driver that has to be taken for alive; None where the lease is free."""
    if found.holder is None or found.is_gone or found.age_s > EXPIRY_S:
        return None
    return found.holder


def find_holder(path: Path) -> Holder | None:
    """Return the driver that holds a sweep now, None if there is none; nothing is changed."""
    try:
        with _locked(path, os.O_RDONLY) as descriptor:
            # Where the folder cannot be written, this host's clock has to do.
            found = _read(descriptor, _now_of_file_system(path) or time.time())
    except FileNotFoundError:
        return None
    return living_holder(found)


class DriverLease:
    """This process's hold on a sweep; made by ``take``, ended by ``release``."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path = path
        self._holder = holder
        self._lost: str | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="driver-lease", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, path: Path) -> DriverLease:
        """Take the lease of a sweep, whose folder exists.

        Raises:
            SweepError: Another driver holds it.
        """
        with disk_faults_named(path), _locked(path, os.O_RDWR | os.O_CREAT) as descriptor:
            now = _now_of_file_system(path) or time.time()
            other = living_holder(_read(descriptor, now))
            if other is not None:
                raise SweepError(
                    f"{path.parent.name}: must have one driver, and is already running on {other}"
                )
            time_now = datetime.now(UTC)
            holder = Holder(this_process(), secrets.token_hex(16), time_now, time_now)
            _write(descriptor, holder)
        return cls(path, holder)

    @property
    def holder(self) -> Holder:
        """This driver, as the file names it."""
        return self._holder

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Do something that only the holder may do: no other driver can take the lease meanwhile.

        Raises:
            LeaseLostError: Another driver has taken it.
            SweepError: The file system refuses.
        """
        with disk_faults_named(self._path), _locked(self._path, os.O_RDWR) as descriptor:
            self._require_own(descriptor)
            yield

    def check(self) -> None:
        """See that the lease is still this driver's.

        Raises:
            LeaseLostError: It is not.
        """
        with self.held():
            pass

    def release(self) -> None:
        """Let others have it; does nothing where it was lost."""
        self._released.set()
        self._thread.join()
        # Where the file system refuses, others see this process's end, or the lease grows old.
        with (
            contextlib.suppress(LeaseLostError, OSError),
            _locked(self._path, os.O_RDWR) as descriptor,
        ):
            self._require_own(descriptor)
            _write(descriptor, None)

    def _require_own(self, descriptor: int) -> None:
        if self._lost is None:
            other = _read(descriptor, now=0.0).holder
            if other is not None and other.token == self._holder.token:
                return
            self._lost = "no driver" if other is None else str(other)
        raise LeaseLostError(
            f"{self._path}: must name this driver, got {self._lost}; this driver stops writing"
        )

    def _renew(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            # A storage that is away for a moment costs heartbeats, not the sweep: whether the
            # lease was lost meanwhile is found out at the next write.
            with contextlib.suppress(OSError, SweepError):
                self._renew_once()

    def _renew_once(self) -> None:
        with _locked(self._path, os.O_RDWR) as descriptor:
            self._require_own(descriptor)
            self._holder = replace(self._holder, heartbeat=datetime.now(UTC))
            _write(descriptor, self._holder)


@contextlib.contextmanager
def _locked(path: Path, flags: int) -> Iterator[int]:
    """The file, open and locked: to be read by many, or to be written by one.

    Raises:
        SweepError: It stays locked, or its file system has no locks.
    """
    # Opened each time: NFS promises fresh attributes and content to whoever opens a file.
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    kind = fcntl.LOCK_SH if flags == os.O_RDONLY else fcntl.LOCK_EX
    deadline = time.monotonic() + LOCK_WAIT_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise SweepError(
                        f"{path}: stayed locked for {LOCK_WAIT_S:g} s; a driver that is frozen "
                        "while it writes must be continued or killed"
                    ) from error
                time.sleep(0.01)
            except OSError as error:
                raise SweepError(
                    f"{path}: cannot be locked ({error.strerror}); storage needs a file system "
                    "with flock"
                ) from error
        yield descriptor
    finally:
        os.close(descriptor)


def _now_of_file_system(path: Path) -> float | None:
    """The clock that gives files their times; None in a folder that cannot be written."""
    probe = temporary_beside(path)
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _read(descriptor: int, now: float) -> Found:
    age_s = now - os.fstat(descriptor).st_mtime
    try:
        fields = json.loads(os.pread(descriptor, 4096, 0))
        process = Process(**fields["process"])
        times = (datetime.fromisoformat(fields[name]) for name in ("since", "heartbeat"))
        holder = Holder(process, fields["token"], *times)
    except (ValueError, KeyError, TypeError):
        # Empty: given back. Torn: its writer's machine went down, and no lock is held.
        return Found(None, age_s)
    return Found(holder, age_s, holder.process.is_gone())


def _write(descriptor: int, holder: Holder | None) -> None:
    content = b""
    if holder is not None:
        text = json.dumps(asdict(holder), default=datetime.isoformat, indent=1)
        content = text.encode() + b"\n"
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)
