"""GPUs by the name that Ray gives them: memory, and dense bfloat16 operations per second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCELERATOR: Final = "accelerator_type:"
"""A node with a GPU has a resource of this name and its type (Ray's ``util.accelerators``)."""


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU, by its maker's data sheet.

    Attributes:
        name: As Ray has it.
        memory_bytes: Its memory; the smallest where the name covers several.
        peak_flops: Dense operations per second on its matrix units in bfloat16 (V100 and T4:
            float16).
    """

    name: str
    memory_bytes: int
    peak_flops: float


GPUS: Final = {
    name: Gpu(name, gigabytes * 10**9, teraflops * 1e12)
    for name, gigabytes, teraflops in (
        ("T4", 16, 65),
        ("V100", 16, 125),
        ("L4", 24, 121),
        ("A10G", 24, 70),
        ("L40S", 48, 362),
        ("A100", 40, 312),
        ("A100-40G", 40, 312),
        ("A100-80G", 80, 312),
        ("H100", 80, 989),
        ("H200", 141, 989),
    )
}
"""NVIDIA's data sheets, operations without sparsity."""


def smallest_gpu(nodes: Sequence[Mapping[str, float]]) -> Gpu | None:
    """The GPU with the least memory among the nodes'; None where one's kind is not known."""
    kinds = {
        name.removeprefix(ACCELERATOR)
        for node in nodes
        if node.get("GPU")
        for name in node
        if name.startswith(ACCELERATOR)
    }
    num_named = sum(any(name.startswith(ACCELERATOR) for name in n) for n in nodes if n.get("GPU"))
    num_with_gpus = sum(bool(node.get("GPU")) for node in nodes)
    if not kinds or not kinds <= GPUS.keys() or num_named < num_with_gpus:
        return None
    return min((GPUS[kind] for kind in kinds), key=lambda gpu: gpu.memory_bytes)
