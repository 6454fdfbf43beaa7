"""Memory of a vLLM server beside a worker, by its share of a GPU or by what it holds on a CPU."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from .memory import GIB, kv_cache_bytes

if TYPE_CHECKING:
    from droplora_sweep.models.inspecting import Dimensions
    from droplora_sweep.spec import TrialSpec

    from .memory import Memory

ASLEEP_BYTES: Final = 1 * GIB
"""Memory of CUDA's context and vLLM's graphs, which sleep does not give back; an assumption."""

CPU_RUNTIME_BYTES: Final = 1 * GIB
"""vLLM's libraries and working memory on a CPU: 0.97 GB were measured with the built-in model."""


def with_server(
    memory: Memory,
    dimensions: Dimensions,
    trial: TrialSpec,
    *,
    gpu_bytes: int | None,
    on_gpu: bool,
) -> Memory:
    """Return a worker's memory with that of the vLLM that decodes for it; else the same.

    Args:
        memory: Memory without it.
        dimensions: Sizes of the base model.
        trial: The trial.
        gpu_bytes: The worker's share of a GPU; where None it is counted by what it holds.
        on_gpu: True where it decodes on a GPU, on which it sleeps while the trial trains.
    """
    if trial.evaluation.backend != "vllm":
        return memory
    held = least_bytes(memory) + kv_cache_bytes(dimensions, trial)
    if not on_gpu:
        held += CPU_RUNTIME_BYTES
        return dataclasses.replace(memory, server=held, server_at_rest=held)
    if gpu_bytes is not None:
        held = round(trial.evaluation.vllm_memory_share * gpu_bytes)
    return dataclasses.replace(memory, server=held, server_at_rest=ASLEEP_BYTES)


def least_bytes(memory: Memory) -> int:
    """Return what a server holds in any case: a base model and an adapter of its own."""
    return memory.weights + memory.adapter
