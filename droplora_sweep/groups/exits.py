"""Exits of a group's workers: their reasons as the system and the workers give them.

The functions that examine a worker run as small tasks on its node.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from droplora_sweep import private_api
from droplora_sweep.errors import AgreedError, DropLoRASweepError, InputError
from droplora_sweep.spec import TrialSpec

from .messages import ExitReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ray.actor import ActorHandle


CGROUP = Path("/proc/self/cgroup")
"""Lines ``number:controllers:path``; version 2 has one, ``0::path``."""
CGROUPS = Path("/sys/fs/cgroup")
MACHINE = Path("/proc/vmstat")

_MESSAGES = re.compile(
    r"out of memory"  # CUDA, also through NCCL and cuBLAS
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|not enough memory|can't allocate memory"  # torch on CPU
    r"|Cannot allocate memory|std::bad_alloc",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True where an exception says that the GPU or the machine ran out of memory.

    Torch on CPU, and CUDA's libraries, have no exception of their own for it, but a RuntimeError
    with a text.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _MESSAGES.search(str(error)) is not None


def oom_counters(cgroup: Path = CGROUP, cgroups: Path = CGROUPS) -> tuple[Path, ...]:
    """Return the files in which Linux counts out-of-memory kills, narrowest first; not all exist.

    That is this process's cgroup, then the one that is seen as the root, which in a container is
    the container's own, then the machine.
    """
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        lines = []
    fields = [line.split(":", 2) for line in lines]
    own = {controllers: path.strip("/") for _, controllers, path in fields}
    version_2, version_1 = cgroups, cgroups / "memory"
    return (
        version_2 / own.get("", "") / "memory.events",
        version_1 / own.get("memory", "") / "memory.oom_control",
        version_2 / "memory.events",
        version_1 / "memory.oom_control",
        MACHINE,
    )


def num_oom_kills(counters: tuple[Path, ...] | None = None) -> int | None:
    """Return how many processes the kernel killed here for lack of memory; None where unknown.

    Args:
        counters: Files with a line ``oom_kill N``, of which the first that has one tells; those of
            `oom_counters` where None.
    """
    for path in counters or oom_counters():
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


def halved(spec: str) -> tuple[str, int] | None:
    """Return a trial with half the micro-batch, rounded down, and that size; None where it is 1.

    Args:
        spec: The trial's spec as JSON.
    """
    trial = TrialSpec.model_validate_json(spec)
    size = trial.training.sequences_at_once // 2
    if not size:
        return None
    training = trial.training.model_copy(update={"micro_batch_size": size})
    return trial.model_copy(update={"training": training}).model_dump_json(), size


NUM_LINES = 20
"""Last lines of a worker's log that are kept of a failed trial."""
MAX_TAIL_BYTES = 16_384
"""As much of a log is read for them."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Worker process of a group.

    Attributes:
        rank: Its place in the group.
        node: Ray's id of its node.
        actor: Ray's id of the actor that it is.
        pid: Its process on that node.
        started: Start of the process, in the kernel's ticks: a later process of the same id has
            another.
        log: File that its standard error goes to; None where that is no file.
        num_oom_kills: Processes that the kernel had killed there because memory ran out when it
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
    """Return the calling worker."""
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


def remains_of(workers: Sequence[Worker]) -> ExitReason | None:
    """Return the exit of workers of this node: their logs' last lines, and what ended them."""
    logs = [f"rank {worker.rank}:\n{lines}" for worker in workers if (lines := _tail(worker.log))]
    log, killer = "\n".join(logs), _killer(workers)
    if killer is not None:
        return ExitReason(killer, out_of_memory=True, log=log)
    return ExitReason(log=log) if log else None


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
    for worker in workers:
        cause = private_api.ray_death_cause(worker.actor) if worker.actor else None
        if cause is not None and cause.HasField("oom_context"):
            return f"Ray ended rank {worker.rank}, since its node was running out of memory"
    now = num_oom_kills()
    before = min((w.num_oom_kills for w in workers if w.num_oom_kills is not None), default=None)
    if now is not None and before is not None and now > before:
        ranks = ", ".join(str(worker.rank) for worker in workers)
        return f"the kernel ended a process because memory ran out where rank {ranks} ran"
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


@contextlib.contextmanager
def exit_reported(pool: ActorHandle[Any], group: str, rank: int) -> Iterator[None]:
    """Report to the pool why this process ends; Ray Train then restarts the group.

    So it does when memory runs out: the other workers wait for this one in a collective, and fresh
    processes have no holes in their memory. Where all workers agree on a fault that ends the sweep
    they end in order, and are not restarted.
    """
    try:
        yield
    except Exception as error:
        is_told = isinstance(error, DropLoRASweepError)
        reason = str(error) if is_told else traceback.format_exception_only(error)[-1].strip()
        lines = "".join(traceback.format_exception(error)).splitlines()[-NUM_LINES:]
        log = "\n".join((f"rank {rank}:", *lines))
        exit_reason = ExitReason(
            reason,
            out_of_memory=is_out_of_memory(error),
            log=log,
            faults=error.faults if isinstance(error, InputError) else (),
            is_raised=True,
        )
        is_over: Any = ray.get(pool.crash.remote(group, exit_reason))
        if not (is_over and isinstance(error, AgreedError)):
            raise
