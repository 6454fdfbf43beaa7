"""DropLoRA's masks on the rank dimension (arXiv 2508.17337, Eq. 2, and its released code).

Each rank dimension is dropped with probability p, the pruning rate, while training. With
``rescale`` what is kept is divided by 1 - p, so that the expected update is the unmasked one.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import nn

SCHEDULES = ("constant", "linear", "cosine")


def rate_at(step: int, num_steps: int, rate: float, schedule: str) -> float:
    """Return the pruning rate of one optimiser step.

    ``constant``: the rate. ``linear``: from 0 at the first step straight up to the rate at the
    last. ``cosine``: the same along half a cosine, ``rate * (1 - cos(pi t)) / 2``, slow at both
    ends. A trial of one step has the rate itself.

    Args:
        step: 0-based.
        num_steps: Steps of the whole trial.
        rate: The rate that is reached.
        schedule: One of ``SCHEDULES``.
    """
    if schedule == "constant" or num_steps <= 1:
        return rate
    done = min(1.0, step / (num_steps - 1))
    return rate * (done if schedule == "linear" else (1 - math.cos(math.pi * done)) / 2)


def draw_dropped(shape: torch.Size, pruning_rate: float, device: torch.device) -> torch.Tensor:
    """Draw a Bernoulli mask from torch's current RNG: True, with probability p, is dropped."""
    if device.type != "cpu":
        return torch.rand(shape, device=device) < pruning_rate
    # On a CPU, Bernoulli numbers are drawn one by one, at several times the cost of the product
    # they mask. Random words of 64 bits are two numbers each; p is rounded to 1 / 2^32.
    num_drawn = math.prod(shape)
    words = torch.empty(-(-num_drawn // 2), dtype=torch.int64).random_(-(2**63), None)
    uniform = words.view(torch.int32)[:num_drawn].view(shape)
    return uniform < round(pruning_rate * 2**32) - 2**31


def mask_shape(hidden_BTR: torch.Tensor, mask: str) -> torch.Size:
    """Return the shape of what is drawn for A x: one draw per entry, or one per sequence.

    The first dimension is the sequence, the last the rank; without a token dimension every row is
    a sequence.
    """
    if mask == "token":
        return hidden_BTR.shape
    assert mask == "sample"
    num_sequences, *tokens, rank = hidden_BTR.shape
    return torch.Size((num_sequences, *(1 for _ in tokens), rank))


def dropped(hidden_BTR: torch.Tensor, mask: str, pruning_rate: float) -> torch.Tensor:
    """Return A x with a newly drawn mask; 0 where it is dropped.

    Args:
        hidden_BTR: A x, already multiplied by whatever the update is scaled by.
        mask: ``token`` (with rescaling what the released code runs: ``nn.Dropout``) or ``sample``.
        pruning_rate: p, the probability of dropping an entry.
    """
    shape = mask_shape(hidden_BTR, mask)
    return hidden_BTR.masked_fill(draw_dropped(shape, pruning_rate, hidden_BTR.device), 0.0)


def draw_kept_ranks(
    seed: int, layer: str, step: int, rank: int, pruning_rate: float
) -> torch.Tensor:
    """Draw the rank dimensions that one layer keeps at one optimiser step; possibly none.

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
    """Return the mask of trained gates, which keeps the ``(1 - p) r`` ranks of the largest ones.

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


class KeptSlices(NamedTuple):
    """Contiguous copies of what one layer computes with during one optimiser step.

    Attributes:
        kept: Indices of the kept rank dimensions.
        A_KI: The kept rows of A, times `factor`.
        B_OK: The kept columns of B.
        factor: Scaling of the update, and 1 / (1 - p) where it is rescaled.
    """

    kept: torch.Tensor
    A_KI: torch.Tensor
    B_OK: torch.Tensor
    factor: float


def gather(
    A_RI: torch.Tensor, B_OR: torch.Tensor, kept_K: torch.Tensor, factor: float
) -> KeptSlices:
    """Copy the kept rows and columns; the factor goes into A, where it costs least."""
    kept_K = kept_K.to(A_RI.device)
    with torch.no_grad():
        return KeptSlices(
            kept_K,
            A_RI.index_select(0, kept_K).mul_(factor),
            B_OR.index_select(1, kept_K),
            factor,
        )


class _KeptUpdate(torch.autograd.Function):
    """``base + (x A_K^T) B_K^T``, with the gradient scattered to whole A and B."""

    @staticmethod
    def forward(ctx: Any, base: Any, x: Any, A: Any, B: Any, slices: KeptSlices) -> torch.Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        hidden_NK = x_NI @ slices.A_KI.T
        ctx.save_for_backward(x_NI, hidden_NK, slices.kept, slices.A_KI, slices.B_OK)
        ctx.factor, ctx.rank, ctx.shape = slices.factor, A.shape[0], x.shape
        if base is None:
            return (hidden_NK @ slices.B_OK.T).view(*x.shape[:-1], -1)
        base_NO = base.reshape(-1, base.shape[-1])
        return torch.addmm(base_NO, hidden_NK, slices.B_OK.T).view(base.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x_NI, hidden_NK, kept_K, A_KI, B_OK = ctx.saved_tensors
        needs_base, needs_x, needs_A, needs_B, _ = ctx.needs_input_grad
        grad_NO = grad.reshape(-1, grad.shape[-1])
        grad_NK = grad_NO @ B_OK
        grad_x = (grad_NK @ A_KI).view(ctx.shape) if needs_x else None
        grad_A = grad_B = None
        if needs_A:
            kept_rows = (grad_NK.T @ x_NI).mul_(ctx.factor)
            grad_A = kept_rows.new_zeros(ctx.rank, x_NI.shape[-1]).index_copy_(0, kept_K, kept_rows)
        if needs_B:
            kept_columns = grad_NO.T @ hidden_NK
            grad_B = kept_columns.new_zeros(grad_NO.shape[-1], ctx.rank)
            grad_B.index_copy_(1, kept_K, kept_columns)
        return grad if needs_base else None, grad_x, grad_A, grad_B, None


def kept_update(
    base: torch.Tensor | None, x: torch.Tensor, A: nn.Linear, B: nn.Linear, slices: KeptSlices
) -> torch.Tensor:
    """``base + factor * B[:, kept] A[kept] x``; the update alone where ``base`` is None.

    Cost and activations are those of an adapter of as many ranks as are kept.

    Args:
        base: Output of the frozen layer (..., out), in the adapter's dtype.
        x: Input (..., in).
        A: The whole A (rank, in), which gets the gradient.
        B: The whole B (out, rank), which gets the gradient.
        slices: Copies that `gather` made of them.
    """
    updated: torch.Tensor = _KeptUpdate.apply(base, x, A.weight, B.weight, slices)
    return updated
