"""DropLoRA's masks on the rank dimension (arXiv 2508.17337, Eq. 2, and its released code).

Each rank dimension is dropped with probability p, the pruning rate, while training. With
``rescale`` what is kept is divided by 1 - p, so that the expected update is the unmasked one.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def drop_per_token(hidden_BTR: torch.Tensor, pruning_rate: float, rescale: bool) -> torch.Tensor:
    """A new Bernoulli mask for every token and rank dimension, from torch's current RNG.

    Rescaled, it is ``nn.Dropout`` on A x, which is what the released code runs.

    Args:
        hidden_BTR: A x; the last dimension is the rank, the others are tokens.
        pruning_rate: p, the probability of dropping an entry.
        rescale: Divide what is kept by 1 - p.
    """
    if rescale:
        return nn.functional.dropout(hidden_BTR, p=pruning_rate, training=True)
    return hidden_BTR * torch.empty_like(hidden_BTR).bernoulli_(1 - pruning_rate)


def draw_step_mask(
    seed: int, layer: str, step: int, rank: int, pruning_rate: float, rescale: bool
) -> torch.Tensor:
    """The mask of one layer at one optimiser step.

    It is a function of its arguments alone (the generator is seeded with their sha256), so every
    micro-batch, every worker and every resumed run draws the same one, on any device.

    Returns:
        mask_R, float32 on the CPU: 0 where dropped, else 1 or, rescaled, 1 / (1 - p).
    """
    digest = hashlib.sha256(f"{seed}\n{layer}\n{step}".encode()).digest()
    # torch reads a seed as a signed 64-bit number.
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    kept_R = torch.rand(rank, generator=generator) >= pruning_rate
    return kept_R / (1 - pruning_rate) if rescale else kept_R.to(torch.float32)
