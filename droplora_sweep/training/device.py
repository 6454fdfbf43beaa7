"""Every choice that differs between CPU and GPU: device, backend, threads, memory, determinism."""

from __future__ import annotations

import gc
import logging
import os
import platform
import resource
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from droplora_sweep import private_api
from droplora_sweep.errors import InputError

GPU_FIELD: Final = "group.gpus_per_worker"
# ru_maxrss is in KiB on Linux.
_RSS_UNIT_BYTES = 1024
_CGROUP = Path("/sys/fs/cgroup")


def gpu(index: int) -> torch.device:
    """Return the GPU with an index among the visible ones.

    Raises:
        InputError: Torch cannot use it.
    """
    if torch.cuda.is_available() and index < torch.cuda.device_count():
        return torch.device("cuda", index)
    if torch.version.cuda is None:
        reason = f"this torch ({torch.__version__}) is built for CPUs"
    elif torch.cuda.is_available():
        reason = f"torch sees {torch.cuda.device_count()} of them, not number {index}"
    else:
        reason = "torch finds no GPU that it can use; `nvidia-smi` tells if the driver does"
    raise InputError.of(GPU_FIELD, f"must be 0 on {platform.node()}: {reason}, got 1")


def settle(
    threads: int | None, gpu_index: int | None = None, gpu_share: float = 1.0
) -> torch.device:
    """Take this worker's device, and make a process group of one where none was made.

    What a worker has reserved decides, not what it can see: Ray hides no GPUs from a worker that
    reserved none, and other processes use those.

    Args:
        threads: Torch threads of a CPU worker; torch's default where None.
        gpu_index: Index of the worker's own GPU among the visible ones; None for the CPU.
        gpu_share: Share of its memory that is this worker's; one that needs more runs out of it,
            and leaves the others theirs.

    Raises:
        InputError: Torch cannot use that GPU.
    """
    if gpu_index is not None:
        device = gpu(gpu_index)
        torch.cuda.set_device(device)
        if gpu_share < 1:
            torch.cuda.set_per_process_memory_fraction(gpu_share, device)
        # Read once, when cuBLAS is first used: what ``strict`` needs costs the others nothing.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    else:
        device = torch.device("cpu")
        if threads is not None:
            torch.set_num_threads(threads)
    # DeepSpeed asks for it, also where there is one worker.
    os.environ.setdefault("LOCAL_RANK", str(device.index or 0))
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = dist.HashStore()
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
    return device


def require_precision(device: torch.device, dtype: str) -> None:
    """Refuse a precision that a GPU has no arithmetic for.

    Raises:
        InputError: It emulates bfloat16, many times slower than float32.
    """
    if dtype != "bfloat16" or device.type != "cuda":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        kind = torch.cuda.get_device_name(device)
        problem = f"must be float32 on {platform.node()}, whose {kind} has no bfloat16, got {dtype}"
        raise InputError.of("model.dtype", problem)


def choose_kernels(device: torch.device, determinism: str) -> None:
    """Choose a GPU's kernels for a trial; those of a CPU add in one order in any case.

    Flash attention has a deterministic backward pass, which torch takes by itself, and the plain
    form always is; the other two have none (PyTorch, Reproducibility).

    Args:
        device: The worker's.
        determinism: ``training.determinism``.
    """
    if device.type == "cuda":
        set_kernels(determinism)


def set_kernels(determinism: str) -> None:
    """Set torch's switches, which are there without a GPU too (see `choose_kernels`)."""
    is_strict = determinism == "strict"
    # An operation without a deterministic form warns.
    torch.use_deterministic_algorithms(is_strict, warn_only=True)
    # No result depends on memory that nothing has written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.enable_cudnn_sdp(not is_strict)
    torch.backends.cuda.enable_mem_efficient_sdp(not is_strict)
    torch.backends.cudnn.deterministic = is_strict
    torch.backends.cudnn.benchmark = determinism == "off"
    # Float32 means float32, unless anything goes.
    torch.set_float32_matmul_precision("high" if determinism == "off" else "highest")
    torch.backends.cudnn.allow_tf32 = determinism == "off"


def import_deepspeed(device: torch.device) -> Any:
    """Return DeepSpeed, set up for the device, quiet, and to compile nothing."""
    # DeepSpeed reads this on import; without it, it logs that it guessed.
    os.environ.setdefault("DS_ACCELERATOR", device.type)
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if device.type == "cpu":
        private_api.compile_nothing(deepspeed)
    return deepspeed


def start_peak(device: torch.device) -> None:
    """Let `peak_memory_bytes` count from here; on CPU it counts from the process's start."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory in use at once: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT_BYTES


def available_memory_bytes() -> int:
    """Return the memory that programs can still get on this machine, or in this container."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = dict(line.split(":") for line in lines)
    available = int(sizes["MemAvailable"].split()[0]) * _RSS_UNIT_BYTES
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        # No container, or one without a limit.
        return available
    return min(available, limit - used)


def keep_what_is_here() -> None:
    """Exclude all objects that exist now from later collections.

    The libraries' hundreds of thousands of objects stay as long as the process; looking through
    them took about a second after every trial.
    """
    gc.collect()
    gc.freeze()


def let_go(device: torch.device) -> None:
    """Give back what `keep_what_is_here` kept and nothing refers to any more."""
    gc.unfreeze()
    release(device)


def release(device: torch.device) -> None:
    """Give back what a finished trial held; its engine is a web of reference cycles."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def sum_over_ranks(value: torch.Tensor) -> float:
    """The sum of one number over all ranks, on every rank."""
    dist.all_reduce(value)
    return float(value.item())


def gather_to_first(value: Any) -> list[Any] | None:
    """Every rank's value, on rank 0; None elsewhere."""
    gathered = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(value, gathered)
    return gathered


def first_over_ranks(value: Any) -> Any:
    """The first rank's value that is not None, on every rank; None where all are None."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return next((one for one in values if one is not None), None)


def share_from_first(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
