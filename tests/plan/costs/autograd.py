"""Measure the tensors that autograd keeps of a forward pass."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


class _Held:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def kept_bytes(model: nn.Module, forward: Callable[[], torch.Tensor]) -> int:
    """Bytes of the storages that the graph of ``forward`` holds, the model's weights apart.

    What a part of the graph held that was given up again (PEFT's norm of a DoRA weight) is gone.
    """
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held: list[weakref.ref[_Held]] = []

    def pack(tensor: torch.Tensor) -> _Held:
        one = _Held(tensor)
        held.append(weakref.ref(one))
        return one

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one.tensor):
        loss = forward()
    storages = {}
    for reference in held:
        if (one := reference()) is not None:
            storage = one.tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    del loss
    return sum(size for pointer, size in storages.items() if pointer not in weights)
