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


def drop_per_sample(hidden_BTR: torch.Tensor, pruning_rate: float, rescale: bool) -> torch.Tensor:
    """A new Bernoulli mask for every sequence, the same for all its tokens.

    Args:
        hidden_BTR: A x; the first dimension is the sequence, the last the rank. Without a token
            dimension every row is a sample.
        pruning_rate: p, the probability of dropping a rank dimension.
        rescale: Divide what is kept by 1 - p.
    """
    shape = (hidden_BTR.shape[0], *(1 for _ in hidden_BTR.shape[1:-1]), hidden_BTR.shape[-1])
    mask_B1R = hidden_BTR.new_empty(shape).bernoulli_(1 - pruning_rate)
    return hidden_BTR * (mask_B1R / (1 - pruning_rate) if rescale else mask_B1R)


def draw_kept_ranks(
    seed: int, layer: str, step: int, rank: int, pruning_rate: float
) -> torch.Tensor:
    """The rank dimensions one layer keeps at one optimiser step; possibly none.

    They are a function of the arguments alone (the generator is seeded with their sha256), so
    every micro-batch, every worker and every resumed run draws the same ones, on any device.

    Returns:
        Ascending indices, int64, on the CPU.
    """
    digest = hashlib.sha256(f"{seed}\n{layer}\n{step}".encode()).digest()
    # torch reads a seed as a signed 64-bit number.
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.nonzero(torch.rand(rank, generator=generator) >= pruning_rate).flatten()


def learned_mask(gate_R: torch.Tensor, pruning_rate: float, rescale: bool) -> torch.Tensor:
    """The mask of trained gates: the ``(1 - p) r`` rank dimensions of the largest gates are kept.

    Forward it is 0 or 1 (or 1 / (1 - p)); backward it is ``sigmoid(gate)``, so that gates train
    (the straight-through estimator). The released code keeps ``sigmoid(gate) >= 0.5`` instead,
    which leaves the pruning rate to chance; a quantile keeps it what it is called. Of equal gates
    the first are kept, at least one in all.

    Args:
        gate_R: One logit per rank dimension.
        pruning_rate: p, the share that is dropped.
        rescale: Divide what is kept by 1 - p.
    """
    num_kept = max(1, gate_R.numel() - round(pruning_rate * gate_R.numel()))
    kept = torch.argsort(gate_R.detach(), descending=True, stable=True)[:num_kept]
    hard_R = torch.zeros_like(gate_R).index_fill(0, kept, 1.0)
    soft_R = torch.sigmoid(gate_R)
    mask_R = hard_R + (soft_R - soft_R.detach())
    return mask_R / (1 - pruning_rate) if rescale else mask_R
