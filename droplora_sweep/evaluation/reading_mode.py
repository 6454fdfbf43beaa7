"""A model that is read, not trained."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def only_read(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every module is in the mode it came in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # Not inference_mode: what a model caches in it could not take part in training later.
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
