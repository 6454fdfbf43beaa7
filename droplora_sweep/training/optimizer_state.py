"""AdamW's state of a ZeRO-2 engine, as whole tensors by parameter name.

ZeRO-2 lays all weights of a parameter group end to end, in the group's order, pads them and cuts
them into one part of equal length per rank. Here the parts are put together and cut again, in
three collectives per group; DeepSpeed's own access by parameter needs three for each, and
adds zeros up, which loses the sign of a zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Shapes = Mapping[str, torch.Size]

MOMENTS = ("exp_avg", "exp_avg_sq")
_CHUNK_ELEMENTS = 50_000_000
"""At most this many of each rank's numbers are in rank 0's GPU memory at once."""


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """What is trained, and what AdamW remembers of it.

    Attributes:
        weights: fp32 master copies by parameter name, on the CPU.
        exp_avg: AdamW's first moments, likewise.
        exp_avg_sq: Its second moments, likewise.
        num_updates: Its step count.
    """

    weights: Mapping[str, torch.Tensor]
    exp_avg: Mapping[str, torch.Tensor]
    exp_avg_sq: Mapping[str, torch.Tensor]
    num_updates: int


def gather_state(zero: Any, groups: Sequence[Shapes]) -> OptimizerState | None:
    """A copy of the state, on rank 0; None elsewhere. A collective.

    Args:
        zero: DeepSpeed's ZeRO-2 optimiser, after at least one step.
        groups: Shapes of each group's trained parameters, by name, in the group's order.
    """
    weights: dict[str, torch.Tensor] = {}
    exp_avg: dict[str, torch.Tensor] = {}
    exp_avg_sq: dict[str, torch.Tensor] = {}
    num_updates = 0
    for part, shapes in zip(zero.single_partition_of_fp32_groups, groups, strict=True):
        state = zero.optimizer.state[part]
        num_updates = int(state["step"])
        whole = (part.detach(), *(state[name] for name in MOMENTS))
        for tensor, into in zip(whole, (weights, exp_avg, exp_avg_sq), strict=True):
            flat = _gathered(tensor)
            if flat is not None:
                into |= _split(flat, shapes)
    if dist.get_rank() != 0:
        return None
    return OptimizerState(weights, exp_avg, exp_avg_sq, num_updates)


def scatter_state(zero: Any, groups: Sequence[Shapes], saved: OptimizerState | None) -> None:
    """Make a fresh engine's weights and optimiser what was saved. A collective.

    Args:
        zero: DeepSpeed's ZeRO-2 optimiser.
        groups: Shapes of each group's trained parameters, by name, in the group's order; the
            saved ones may have been in other groups.
        saved: On rank 0; None elsewhere.
    """
    parts = zero.single_partition_of_fp32_groups
    copies = zero.parallel_partitioned_bit16_groups
    count = torch.tensor([saved.num_updates if saved else 0], device=parts[0].device)
    dist.broadcast(count, src=0)
    for part, model_parts, shapes in zip(parts, copies, groups, strict=True):
        moments = {name: torch.zeros_like(part) for name in MOMENTS}
        _scatter(part.data, saved.weights if saved else None, shapes)
        for name, moment in moments.items():
            _scatter(moment, getattr(saved, name) if saved else None, shapes)
        step = torch.tensor(float(count.item()), dtype=torch.float32)
        zero.optimizer.state[part] = {"step": step, **moments}
        model_parts[dist.get_rank()].copy_(part.data)
        for rank, model_part in enumerate(model_parts):
            dist.broadcast(model_part, src=rank)


def _gathered(part_N: torch.Tensor) -> torch.Tensor | None:
    """All ranks' parts end to end, on rank 0 and on the CPU; None elsewhere."""
    is_first, num_ranks = dist.get_rank() == 0, dist.get_world_size()
    whole_RN = torch.empty(num_ranks, part_N.numel(), dtype=part_N.dtype) if is_first else None
    for start in range(0, part_N.numel(), _CHUNK_ELEMENTS):
        chunk = part_N[start : start + _CHUNK_ELEMENTS]
        pieces = [torch.empty_like(chunk) for _ in range(num_ranks)] if is_first else None
        dist.gather(chunk, pieces)
        if whole_RN is not None and pieces is not None:
            for row, piece in zip(whole_RN, pieces, strict=True):
                row[start : start + _CHUNK_ELEMENTS].copy_(piece)
    return None if whole_RN is None else whole_RN.flatten()


def _split(flat: torch.Tensor, shapes: Shapes) -> dict[str, torch.Tensor]:
    lengths = [shape.numel() for shape in shapes.values()]
    pieces = flat[: sum(lengths)].split(lengths)
    return {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}


def _scatter(
    part_N: torch.Tensor,
    saved: Mapping[str, torch.Tensor] | None,
    shapes: Shapes,
) -> None:
    """Cut rank 0's tensors, laid end to end and padded with zeros, into the ranks' parts."""
    num_ranks = dist.get_world_size()
    whole_RN = None
    if saved is not None:
        whole_RN = torch.zeros(num_ranks, part_N.numel(), dtype=part_N.dtype)
        flat = torch.cat([saved[name].flatten() for name in shapes])
        whole_RN.view(-1)[: flat.numel()] = flat
    for start in range(0, part_N.numel(), _CHUNK_ELEMENTS):
        chunk = part_N[start : start + _CHUNK_ELEMENTS]
        pieces = None
        if whole_RN is not None:
            rows = whole_RN[:, start : start + _CHUNK_ELEMENTS]
            pieces = [row.to(part_N.device).contiguous() for row in rows]
        dist.scatter(chunk, pieces)
