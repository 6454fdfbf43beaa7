"""What a lack of memory looks like, and the trial that needs less of it."""

from __future__ import annotations

import re
from pathlib import Path

from droplora_sweep.spec import TrialSpec

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
    """Whether an exception says that memory, of the GPU or of the machine, did not suffice.

    Torch on CPU, and CUDA's libraries, have no exception of their own for it, but a RuntimeError
    with a text.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _MESSAGES.search(str(error)) is not None


def oom_counters(cgroup: Path = CGROUP, cgroups: Path = CGROUPS) -> tuple[Path, ...]:
    """Where Linux counts what it killed for want of memory, the narrowest first; not all exist.

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
    """Processes that the kernel has killed here for want of memory; None where it does not tell.

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
    """A trial with half the micro-batch, rounded down, and that size; None where it is 1.

    Args:
        spec: The trial's spec as JSON.
    """
    trial = TrialSpec.model_validate_json(spec)
    size = trial.training.micro_batch_size // 2
    if not size:
        return None
    training = trial.training.model_copy(update={"micro_batch_size": size})
    return trial.model_copy(update={"training": training}).model_dump_json(), size
