"""The update of the rank dimensions a step keeps; the dropped ones are not computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import nn


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
        slices: What `gather` copied from them.
    """
    updated: torch.Tensor = _KeptUpdate.apply(base, x, A.weight, B.weight, slices)
    return updated
