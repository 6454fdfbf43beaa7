"""A frozen base model that is split over the workers of a group (stage 3 of ZeRO).

Each rank keeps an equal part of the weights of every decoder layer, of the embedding and of the
output layer. All weights of one of them are gathered, from all ranks, just before it computes,
forward and backward, and let go after it, so that one or two of them are whole at a time. The
numbers are those of an unsplit model, in the same order of operations. What is trained is not
split here: adapters are attached, saved and optimised as on any base model.

All ranks gather the same weights in the same order, so each runs as many forward passes as the
others: `ShardedModel.in_step` sees to that where their examples differ.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import PreTrainedModel


class _Unit:
    """Weights that are gathered together.

    Attributes:
        weights: The parameters; between uses each is a view of one NaN, of its shape.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        dtype: torch.dtype,
        device: torch.device,
        kept_on: torch.device,
    ) -> None:
        self.weights = list(weights)
        counts = [weight.numel() for weight in self.weights]
        num_ranks, rank = dist.get_world_size(), dist.get_rank()
        self._length = math.ceil(sum(counts) / num_ranks)
        self._device = device
        first = rank * self._length
        part = torch.zeros(self._length, dtype=dtype)
        start = 0
        for weight, count in zip(self.weights, counts, strict=True):
            low, high = max(first, start), min(first + self._length, start + count)
            if low < high:
                # Of weights that are mapped from a file, no other rank's part is read.
                part[low - first : high - first] = weight.detach().view(-1)[
                    low - start : high - start
                ]
            start += count
        self._part = part.to(kept_on)
        if kept_on.type == "cpu" and device.type == "cuda":
            self._part = self._part.pin_memory()
        self._whole = torch.empty(num_ranks * self._length, dtype=dtype, device=device)
        self._num_bytes = self._whole.untyped_storage().nbytes()
        pieces = self._whole[: sum(counts)].split(counts)
        self._views = [
            piece.view(weight.shape) for piece, weight in zip(pieces, self.weights, strict=True)
        ]
        # What reads a weight while it is elsewhere gets NaN, and no result that looks like one.
        nothing = torch.full((), math.nan, dtype=dtype, device=device)
        self._placeholders = [nothing.expand(weight.shape) for weight in self.weights]
        self.is_whole = True
        self.let_go()

    @property
    def num_bytes(self) -> int:
        """Bytes of this rank's part."""
        return self._part.numel() * self._part.element_size()

    def gather(self) -> None:
        """Make the weights whole; a collective."""
        if self.is_whole:
            return
        self._whole.untyped_storage().resize_(self._num_bytes)
        dist.all_gather_single(self._whole, self._part.to(self._device, non_blocking=True))
        for weight, view in zip(self.weights, self._views, strict=True):
            weight.data = view
        self.is_whole = True

    def let_go(self) -> None:
        """Keep this rank's part alone."""
        if not self.is_whole:
            return
        for weight, placeholder in zip(self.weights, self._placeholders, strict=True):
            weight.data = placeholder
        # Its memory, and not the tensor: autograd keeps views of it for the backward pass.
        self._whole.untyped_storage().resize_(0)
        self.is_whole = False


class ShardedModel:
    """Splits a frozen model over all ranks, and gathers each of its layers when it is used.

    Args:
        model: The same on all ranks, in the CPU's memory, best mapped from its files.
        dtype: Precision that the weights shall have.
        device: Device that computes.
        offload: True keeps the parts in the CPU's memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        device: torch.device,
        *,
        offload: bool = False,
    ) -> None:
        self.model = model
        self._device = device
        self._is_counted = False
        self._in_backward: _Unit | None = None
        kept_on = torch.device("cpu") if offload else device
        self._units: list[_Unit] = []
        for modules in _modules_together(model):
            weights = dict.fromkeys(weight for module in modules for weight in module.parameters())
            unit = _Unit(list(weights), dtype, device, kept_on)
            self._units.append(unit)
            for module in modules:
                self._hook(module, unit)
        split = {weight for unit in self._units for weight in unit.weights}
        for weight in model.parameters():
            if weight not in split:
                weight.data = weight.data.to(device, dtype)
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to(device))
        model.config.dtype = dtype
        model.register_forward_pre_hook(self._count)

    @property
    def num_bytes(self) -> int:
        """Bytes of the base weights that this rank keeps between uses."""
        split = {weight for unit in self._units for weight in unit.weights}
        others = (one for one in self.model.parameters() if one not in split)
        whole = sum(one.numel() * one.element_size() for one in others if not one.requires_grad)
        return whole + sum(unit.num_bytes for unit in self._units)

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """Let each rank run any number of forward passes within it; a collective.

        A rank that has run its own takes part in those of the others, on one token. No other
        collective may run within it.
        """
        self._is_counted = True
        try:
            yield
        finally:
            self._is_counted = False
            token_11 = torch.zeros((1, 1), dtype=torch.long, device=self._device)
            with torch.no_grad():
                while self._others_run():
                    self.model(input_ids=token_11, use_cache=False, logits_to_keep=1)

    def _count(self, module: nn.Module, args: Any) -> None:
        """Tell the ranks that have run all of theirs of a forward pass."""
        if self._is_counted:
            dist.all_reduce(torch.ones((), device=self._device))

    def _others_run(self) -> bool:
        count = torch.zeros((), device=self._device)
        dist.all_reduce(count)
        return bool(count.item())

    def _hook(self, module: nn.Module, unit: _Unit) -> None:
        def before(module: nn.Module, args: Any) -> None:
            if unit is not self._in_backward:
                self._end_backward()
            unit.gather()

        def after(module: nn.Module, args: Any, output: Any) -> None:
            # A layer that is computed again for its backward pass stays.
            if unit is not self._in_backward:
                unit.let_go()
            for one in output if isinstance(output, tuple | list) else (output,):
                if isinstance(one, torch.Tensor) and one.requires_grad:
                    one.register_hook(self._before_backward(unit))

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after, always_call=True)

    def _before_backward(self, unit: _Unit) -> Callable[[torch.Tensor], None]:
        """Return what runs when the gradient of a unit's output is known, which is all it needs.

        The unit that follows it in the model has given its own gradient then.
        """

        def begin(gradient: torch.Tensor) -> None:
            if unit is not self._in_backward:
                self._end_backward()
            self._in_backward = unit
            unit.gather()

        return begin

    def _end_backward(self) -> None:
        """Let go of what the backward pass used last."""
        if self._in_backward is not None:
            self._in_backward.let_go()
            self._in_backward = None


def _modules_together(model: nn.Module) -> list[list[nn.Module]]:
    """Return the modules to split, in groups that share weights: an output layer and its embedding.

    Those are the members of the outermost lists of layers, and what has a matrix beside them.
    """
    inside: set[nn.Module] = set()
    groups: list[list[nn.Module]] = []
    for module in model.modules():
        if module in inside:
            continue
        if isinstance(module, nn.ModuleList):
            groups += [[layer] for layer in module]
            inside |= set(module.modules())
            continue
        own = [weight for weight in module.parameters(recurse=False) if weight.ndim > 1]
        if not own:
            continue
        for group in groups:
            if any(own[0] is weight for one in group for weight in one.parameters()):
                group.append(module)
                break
        else:
            groups.append([module])
    return groups
