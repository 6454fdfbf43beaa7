"""The adapted layer in plain torch, written from the formulas alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass
class Reference:
    """``y = W x + b + s B (m * A x)``; DoRA: ``(g / n) (W x + s B (m * A x)) + b``.

    n is the norm of each row of ``W + s B diag(k) A``, a constant for the gradient; k is 1, or
    for a learned mask the mask.
    """

    W: torch.Tensor
    b: torch.Tensor
    A: torch.Tensor
    B: torch.Tensor
    scaling: float
    magnitude: torch.Tensor | None = None

    def __call__(
        self, x: torch.Tensor, mask: torch.Tensor, kept: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        base = x @ self.W.T
        update = self.scaling * (mask * (x @ self.A.T)) @ self.B.T
        if self.magnitude is None:
            return base + self.b + update
        weight = self.W + self.scaling * (self.B * kept) @ self.A
        norm = weight.norm(dim=1).detach()
        return self.magnitude / norm * (base + update) + self.b
