"""A group's worker processes as the operating system knows them: their end, and what they left.

The functions that look at a worker run as small tasks on its node.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .memory import num_oom_kills
from .messages import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

NUM_LINES = 20
"""Last lines of a worker's log that are kept of a failed trial."""
MAX_TAIL_BYTES = 16_384
"""As much of a log is read for them."""


@dataclass(frozen=True)
class Worker:
    """One worker process.

    Attributes:
        rank: Its place in the group.
        node: Ray's id of its node.
        actor: Ray's id of the actor that it is.
        pid: Its process on that node.
        started: When the process started, in the kernel's ticks: tells it from a later process
            of the same id.
        log: File that its standard error goes to; None where that is no file.
        num_oom_kills: Processes that the kernel had killed there for want of memory when it
            started; None where the kernel does not tell.
    """

    rank: int
    node: str
    actor: str
    pid: int
    started: int | None
    log: str | None
    num_oom_kills: int | None


def this_worker(rank: int) -> Worker:
    """The calling worker."""
    context = ray.get_runtime_context()
    log = Path("/proc/self/fd/2").resolve()
    return Worker(
        rank=rank,
        node=context.get_node_id(),
        actor=context.get_actor_id() or "",
        pid=os.getpid(),
        started=_started(os.getpid()),
        log=str(log) if log.is_file() else None,
        num_oom_kills=num_oom_kills(),
    )


def kill(workers: Sequence[Worker]) -> None:
    """End workers of this node; SIGKILL also ends what SIGSTOP froze.

    A process that a worker's id went to meanwhile is left alone.
    """
    for worker in workers:
        if worker.started is not None and _started(worker.pid) == worker.started:
            os.kill(worker.pid, signal.SIGKILL)


def remains_of(workers: Sequence[Worker]) -> Words | None:
    """What workers of this node left: their logs' last lines, and who ended them."""
    logs = [f"rank {worker.rank}:\n{lines}" for worker in workers if (lines := _tail(worker.log))]
    log, killer = "\n".join(logs), _killer(workers)
    if killer is not None:
        return Words(killer, out_of_memory=True, log=log)
    return Words(log=log) if log else None


def start_on_their_nodes(task: Any, workers: Sequence[Worker]) -> list[ray.ObjectRef[Any]]:
    """Call a function on each node of a group, with the workers that are or were there."""
    nodes = dict.fromkeys(worker.node for worker in workers)
    return [
        ray.remote(task)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote([worker for worker in workers if worker.node == node])
        for node in nodes
    ]


def _killer(workers: Sequence[Worker]) -> str | None:
    from ray._private.state import state

    for worker in workers:
        cause = state.actor_table(worker.actor).get("DeathCause") if worker.actor else None
        if cause is not None and cause.HasField("oom_context"):
            return f"Ray ended rank {worker.rank}, since its node was running out of memory"
    now = num_oom_kills()
    before = min((w.num_oom_kills for w in workers if w.num_oom_kills is not None), default=None)
    if now is not None and before is not None and now > before:
        ranks = ", ".join(str(worker.rank) for worker in workers)
        return f"the kernel ended a process for want of memory where rank {ranks} ran"
    return None


def _started(pid: int) -> int | None:
    """Field 22 of the process's ``stat``; None without such a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command, the second field, is in parentheses and may hold any character.
    return int(stat.rpartition(")")[2].split()[19])


def _tail(log: str | None) -> str:
    if log is None:
        return ""
    try:
        with Path(log).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - MAX_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-NUM_LINES:])
