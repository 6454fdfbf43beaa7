"""Which process wrote something down, and whether it still lives, as far as can be seen from here.

Linux alone: everything is read from ``/proc``. Elsewhere nothing can be seen of a process, and
whoever asks has to wait for a lease to expire.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, told apart from every other that had or will have its pid.

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
        """Whether it is known to have ended: nothing is known of processes of other machines."""
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
