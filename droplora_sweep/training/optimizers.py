"""AdamW as torch has it, or with moments in 8 bits (bitsandbytes), and its moments as fp32.

In 8 bits a moment is an index into 256 values from -1 to 1 times the largest of its block of 256
numbers (arXiv 2110.02861); groups of fewer than 4096 numbers stay in fp32. bitsandbytes 0.50 keeps
the indices, the values and the blocks' scales in an optimiser's state under the names used here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.spec.trial import TrainingSpec

MOMENTS = ("exp_avg", "exp_avg_sq")
BLOCK_NUMBERS = 256


def make_optimizer(training: TrainingSpec, groups: Sequence[dict[str, Any]]) -> Any:
    """Return the optimiser of a trial.

    Args:
        training: Its kind and peak learning rate.
        groups: Parameter groups, each with its weight decay.
    """
    if training.optimizer == "adamw":
        return torch.optim.AdamW(list(groups), lr=training.learning_rate)
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(list(groups), lr=training.learning_rate)


def read_moments(state: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return AdamW's first and second moments of one tensor of weights, in fp32."""
    if MOMENTS[0] in state:
        return state[MOMENTS[0]], state[MOMENTS[1]]
    first, second = (_decoded(state, number) for number in ("1", "2"))
    return first, second


def write_moments(
    optimizer: Any, group: int, num_updates: int, moments: Sequence[torch.Tensor]
) -> None:
    """Make the state of a group's one tensor of weights what `read_moments` gave.

    In 8 bits every index comes out as it was; a scale may differ in its last bit.

    Args:
        optimizer: Result of `make_optimizer`.
        group: Number of the parameter group.
        num_updates: Steps that AdamW has taken.
        moments: First and second moments in fp32.
    """
    [weights] = optimizer.param_groups[group]["params"]
    if isinstance(optimizer, torch.optim.AdamW):
        step = torch.tensor(float(num_updates), dtype=torch.float32)
        optimizer.state[weights] = {"step": step, **dict(zip(MOMENTS, moments, strict=True))}
        return
    optimizer.init_state(optimizer.param_groups[group], weights, group, 0)
    state = optimizer.state[weights]
    state["step"] = num_updates
    for number, moment in zip(("1", "2"), moments, strict=True):
        kept = state[f"state{number}"]
        if kept.dtype == torch.uint8:
            indices, scales = _encoded(moment, state[f"qmap{number}"])
            state[f"absmax{number}"].copy_(scales)
            kept.copy_(indices.view_as(kept))
        else:
            kept.copy_(moment)


def _decoded(state: dict[str, Any], number: str) -> torch.Tensor:
    kept: torch.Tensor = state[f"state{number}"]
    if kept.dtype != torch.uint8:
        return kept
    scales = state[f"absmax{number}"].repeat_interleave(BLOCK_NUMBERS)[: kept.numel()]
    values: torch.Tensor = state[f"qmap{number}"][kept.flatten().long()]
    return (values * scales).view_as(kept)


def _encoded(moment: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the index of each number and the scale of each block.

    The number that a block was scaled by had the last index, or with a negative sign the first,
    whose value is not quite -1.
    """
    count = moment.numel()
    padded = torch.nn.functional.pad(moment.flatten(), (0, -count % BLOCK_NUMBERS))
    blocks = padded.view(-1, BLOCK_NUMBERS)
    scales = blocks.amax(1) / values.max()
    if values.min() < 0:
        scales = torch.maximum(scales, blocks.amin(1) / values.min())
    shares = blocks / scales.clamp(min=torch.finfo(scales.dtype).tiny)[:, None]
    indices = torch.bucketize(shares, (values[1:] + values[:-1]) / 2)
    return indices.flatten()[:count].to(torch.uint8), scales
