"""What a lack of memory looks like, and the trial that needs less of it."""

from __future__ import annotations

import re
from pathlib import Path

from droplora_sweep.spec import TrialSpec

COUNTERS = (
    # In a container, its own count; elsewhere the machine's.
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
    Path("/proc/vmstat"),
)
"""Where Linux counts the processes that it killed for want of memory, in lines ``oom_kill N``."""

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


def num_oom_kills(counters: tuple[Path, ...] = COUNTERS) -> int | None:
    """Processes that the kernel has killed here for want of memory; None where it does not tell."""
    for path in counters:
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
