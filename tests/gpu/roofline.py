"""Lower bounds of a step's seconds: what the device computes, moves and is told to do.

A step takes at least as long as its arithmetic at the pace of a large product of matrices and its
traffic at that of a large copy (which do not overlap in kernels of their own), and as long as it
takes to launch its operations one by one, which overlaps both. The three paces are measured on the
device at hand, so that the bound holds on one whose data sheet nobody has read.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from droplora_sweep.plan.costs.work import GPUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .setting import Setting

_WARMUP: Final = 3
_REPEATS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Paces:
    """Paces of a device.

    Attributes:
        flops: Operations of a large bfloat16 product.
        bytes: Bytes that a copy reads and writes.
        launch_s: Seconds of one small operation in a row of many.
    """

    flops: float
    bytes: float
    launch_s: float


def bound_s(paces: Paces, *, flops: float, num_bytes: float, num_launches: float) -> float:
    """Return the seconds that no step of this much work goes below."""
    on_device = flops / paces.flops + num_bytes / paces.bytes
    return max(on_device, num_launches * paces.launch_s)


def data_sheet_flops(device_name: str) -> float | None:
    """Return the peak of a kind of GPU by torch's name of it; None of an unknown one.

    The longest name that is a part of it counts, and of a family's members the slowest: ``A100``
    is in ``NVIDIA A100-SXM4-80GB``.
    """
    words = device_name.replace("-", " ").split()
    known = {name: gpu.peak_flops for name, gpu in GPUS.items() if name.split("-")[0] in words}
    return min(known.values()) if known else None


def wait(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], Any], device: torch.device, repeats: int = _REPEATS) -> float:
    """Return the mean seconds of something that is done again and again."""
    for _ in range(_WARMUP):
        work()
    wait(device)
    started_s = time.perf_counter()
    for _ in range(repeats):
        work()
    wait(device)
    return (time.perf_counter() - started_s) / repeats


def measured_paces(setting: Setting) -> Paces:
    """Time a product, a copy and a row of small operations."""
    device, side = setting.torch_device, setting.size.matrix
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product_s = seconds_of(lambda: left @ right, device)
    source = torch.empty(setting.size.copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = seconds_of(lambda: target.copy_(source), device)
    number = torch.zeros(1, device=device)

    def launch() -> None:
        for _ in range(setting.size.num_launches):
            number.add_(1)

    launch_s = seconds_of(launch, device, 3) / setting.size.num_launches
    return Paces(
        flops=2 * side**3 / product_s,
        bytes=2 * setting.size.copied_bytes / copy_s,
        launch_s=launch_s,
    )


class Launches(TorchDispatchMode):
    """Counts operations that compute: those that return a view of what they are given do not."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += not is_view(func)
        return func(*args, **(kwargs or {}))


def is_view(func: Any) -> bool:
    """Return True where an operation only looks at a tensor otherwise."""
    aliases = [one.alias_info for one in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)
