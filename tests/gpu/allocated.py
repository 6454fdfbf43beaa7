"""Most bytes of tensors that are alive at once on a CPU, as a GPU's allocator would count them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Iterable


class Allocated(TorchDispatchMode):
    """Counts the storages that operations make, and those that are there before, until they go.

    Memory that a kernel takes and gives back within itself is not seen.

    Args:
        there: Tensors that are there from the start.

    Attributes:
        peak: Most bytes at once.
    """

    def __init__(self, there: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self._alive: dict[int, int] = {}
        self._now = 0
        self.peak = 0
        for tensor in there:
            self._see(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor):
                self._see(one)
        return found

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._alive:
            self._now += size - self._alive[key]
        else:
            self._now += size
            weakref.finalize(storage, self._gone, key)
        self._alive[key] = size
        self.peak = max(self.peak, self._now)

    def _gone(self, key: int) -> None:
        self._now -= self._alive.pop(key)
