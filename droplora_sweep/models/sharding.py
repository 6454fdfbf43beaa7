"""A base model that is split over the workers of a group (stage 3 of ZeRO, arXiv 1910.02054).

Each rank keeps an equal part of the weights of every decoder layer, of the embedding and of the
output layer. All weights of one of them are gathered, from all ranks, just before it computes,
forward and backward, and let go after it, so that one or two of them are whole at a time. The
numbers are those of an unsplit model, in the same order of operations. Adapters are not split: they
are attached, saved and optimised as on any base model.

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
    from collections.abc import Callable, Iterator, Mapping

    from transformers import PreTrainedModel


class Unit:
    """Weights that are gathered together.

    Attributes:
        weights: The parameters by name, in the order in which they lie end to end; between uses
            each is a view of one NaN, of its shape.
        part: This rank's part of the weights end to end, padded with zeros. What changes it
            changes the weights that the next use gathers.
        own: Places in the part of the weights that it has something of.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        dtype: torch.dtype,
        device: torch.device,
        kept_on: torch.device,
    ) -> None:
        self.weights = dict(weights)
        counts = [weight.numel() for weight in self.weights.values()]
        num_ranks, rank = dist.get_world_size(), dist.get_rank()
        self._length = math.ceil(sum(counts) / num_ranks)
        self.device = device
        first = rank * self._length
        part = torch.zeros(self._length, dtype=dtype)
        self.own: dict[str, slice] = {}
        start = 0
        for (name, weight), count in zip(self.weights.items(), counts, strict=True):
            low, high = max(first, start), min(first + self._length, start + count)
            if low < high:
                self.own[name] = slice(low - first, high - first)
                # Of weights that are mapped from a file, no other rank's part is read.
                own = weight.detach().view(-1)[low - start : high - start]
                part[self.own[name]] = own
            start += count
        self.part = part.to(kept_on)
        if kept_on.type == "cpu" and device.type == "cuda":
            self.part = self.part.pin_memory()
        self._whole = torch.empty(num_ranks * self._length, dtype=dtype, device=device)
        self._num_bytes = self._whole.untyped_storage().nbytes()
        pieces = self._whole[: sum(counts)].split(counts)
        self._views = [
            piece.view(weight.shape)
            for piece, weight in zip(pieces, self.weights.values(), strict=True)
        ]
        # What reads a weight while it is elsewhere gets NaN, and no result that looks like one.
        nothing = torch.full((), math.nan, dtype=dtype, device=device)
        self._placeholders = [nothing.expand(weight.shape) for weight in self.weights.values()]
        self.is_whole = True
        self.let_go()

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Shape of each weight, by name."""
        return {name: weight.shape for name, weight in self.weights.items()}

    def gather(self) -> None:
        """Make the weights whole; a collective."""
        if self.is_whole:
            return
        self._whole.untyped_storage().resize_(self._num_bytes)
        dist.all_gather_single(self._whole, self.part.to(self.device, non_blocking=True))
        for weight, view in zip(self.weights.values(), self._views, strict=True):
            weight.data = view
        self.is_whole = True

    def let_go(self) -> None:
        """Keep this rank's part alone."""
        if not self.is_whole:
            return
        for weight, placeholder in zip(self.weights.values(), self._placeholders, strict=True):
            weight.data = placeholder
        # Its memory, and not the tensor: autograd keeps views of it for the backward pass.
        self._whole.untyped_storage().resize_(0)
        self.is_whole = False


class ShardedModel:
    """Splits a model over all ranks, and gathers each of its layers when it is used.

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
        self.device = device
        self.offload = offload
        self._is_counted = False
        self._in_backward: Unit | None = None
        kept_on = torch.device("cpu") if offload else device
        # A tied weight has the first of its names.
        names = {weight: name for name, weight in model.named_parameters()}
        self.units: list[Unit] = []
        for modules, weights in _modules_together(model):
            unit = Unit({names[one]: one for one in weights}, dtype, device, kept_on)
            self.units.append(unit)
            for module in modules:
                self._hook(module, unit)
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to(device))
        model.config.dtype = dtype
        model.register_forward_pre_hook(self._count)

    @property
    def num_bytes(self) -> int:
        """Bytes of the base weights that this rank keeps between uses."""
        return sum(unit.part.numel() * unit.part.element_size() for unit in self.units)

    def let_go(self) -> None:
        """Keep this rank's parts alone."""
        self._in_backward = None
        for unit in self.units:
            unit.let_go()

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
            token_11 = torch.zeros((1, 1), dtype=torch.long, device=self.device)
            with torch.no_grad():
                while self._others_run():
                    self.model(input_ids=token_11, use_cache=False, logits_to_keep=1)

    def _count(self, module: nn.Module, args: Any) -> None:
        """Tell the ranks that have run all of theirs of a forward pass."""
        if self._is_counted:
            dist.all_reduce(torch.ones((), device=self.device))

    def _others_run(self) -> bool:
        count = torch.zeros((), device=self.device)
        dist.all_reduce(count)
        return bool(count.item())

    def _hook(self, module: nn.Module, unit: Unit) -> None:
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

    def _before_backward(self, unit: Unit) -> Callable[[torch.Tensor], None]:
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


def _modules_together(model: nn.Module) -> list[tuple[list[nn.Module], list[nn.Parameter]]]:
    """Return the modules to split with their weights: those that share some, as an output layer.

    They are the members of the outermost lists of layers, and what has weights beside them.
    """
    inside: set[nn.Module] = set()
    groups: list[tuple[list[nn.Module], list[nn.Parameter]]] = []
    for module in model.modules():
        if module in inside:
            continue
        if isinstance(module, nn.ModuleList):
            groups += [([layer], list(layer.parameters())) for layer in module]
            inside |= set(module.modules())
            continue
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        for modules, weights in groups:
            if set(own) & set(weights):
                modules.append(module)
                weights += [weight for weight in own if weight not in set(weights)]
                break
        else:
            groups.append(([module], own))
    return groups
