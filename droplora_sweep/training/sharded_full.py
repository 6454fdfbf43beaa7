"""Full fine-tuning of a model that is split over all ranks, and the engine that trains it.

Each rank has its part of every weight, of the fp32 master copies, of the gradients and of AdamW's
moments (stage 3 of ZeRO, arXiv 1910.02054). A layer's gradients are added up over ranks, and the
other ranks' parts dropped, as soon as its backward pass has them.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from transformers.trainer_pt_utils import get_parameter_names

from droplora_sweep.adapters.adapted import Adapted
from droplora_sweep.adapters.export import save_full_model
from droplora_sweep.adapters.tensor_files import Buffer, padded

from .device import sum_over_ranks
from .engine import UNDECAYED, OptimizerState, gathered, scatter, split
from .optimizers import MOMENTS, make_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedModel

    from droplora_sweep.models.sharding import ShardedModel, Unit
    from droplora_sweep.spec.trial import TrainingSpec, TrialSpec


class ShardedFullModel(Adapted):
    """The base model itself, trainable, split over all ranks.

    A copy of this rank's part is kept on the CPU, so that `detach` leaves the base model as it was.

    Args:
        sharded: Frozen base model in evaluation mode.
    """

    def __init__(self, sharded: ShardedModel) -> None:
        self._sharded = sharded
        self.model = sharded.model
        self._originals = [unit.part.to("cpu", copy=True) for unit in sharded.units]
        self._whole: dict[str, torch.Tensor] = {}
        sharded.model.requires_grad_(True)

    def set_step(self, step: int, num_steps: int) -> None:
        """Nothing is masked."""

    def note_start(self) -> None:
        """Take the copies that are kept anyway."""

    def has_learned(self) -> bool:
        """Return True where any rank's part has changed; a collective."""
        pairs = zip(self._sharded.units, self._originals, strict=True)
        changed = any(not torch.equal(unit.part.cpu(), original) for unit, original in pairs)
        return sum_over_ranks(torch.tensor(float(changed), device=self._sharded.device)) > 0

    def gather_weights(self) -> None:
        """Bring the whole model to rank 0's memory for `save`, layer by layer; a collective."""
        is_first, num_ranks = dist.get_rank() == 0, dist.get_world_size()
        buffer = Buffer(
            sum(
                unit.part.numel() * unit.part.element_size() * num_ranks
                + padded(1) * len(unit.weights)
                for unit in self._sharded.units
            )
            if is_first
            else 0
        )
        for unit in self._sharded.units:
            unit.gather()
            if is_first:
                for name, weight in unit.weights.items():
                    copy = buffer.take(weight.shape, weight.dtype)
                    self._whole[name] = copy.copy_(weight.detach())
            unit.let_go()

    def save(self, folder: Path, trial: TrialSpec) -> None:
        """Write the whole model, which `gather_weights` has brought here."""
        whole, self._whole = self._whole, {}
        weights = with_tied(self._sharded.model, whole)
        save_full_model(folder, self._sharded.model, trial, self.facts, weights)

    def detach(self) -> PreTrainedModel:
        """Freeze the base model and put its weights back."""
        self._sharded.let_go()
        base = self._sharded.model
        base.requires_grad_(False)
        for unit, original in zip(self._sharded.units, self._originals, strict=True):
            unit.part.copy_(original)
        for weight in base.parameters():
            weight.grad = None
        base.train(False)
        return base


def with_tied(model: nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights with the further names of those that are tied, and the model's buffers."""
    first = {weight: name for name, weight in model.named_parameters()}
    names = {name: first[one] for name, one in model.named_parameters(remove_duplicate=False)}
    saved = {name: weights[names[name]] for name in names}
    kept = model.state_dict()
    return {name: saved.get(name, kept[name]) for name in kept}


class _Shard:
    """This rank's part of a unit's fp32 master copy, gradient and AdamW parameters."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.master = unit.part.to(torch.float32, copy=True)
        self.gradient = torch.zeros_like(self.master)
        # AdamW's parameters are parts of both, so that what changes one changes the other.
        self.pieces = {name: nn.Parameter(self.master[own]) for name, own in unit.own.items()}
        for name, own in unit.own.items():
            self.pieces[name].grad = self.gradient[own]
        self.missing = set(unit.weights.values())

    def reduce(self) -> None:
        """Add this micro-batch's gradients of all ranks to the step's; a collective."""
        unit, num_ranks = self.unit, dist.get_world_size()
        count = num_ranks * self.master.numel()
        whole = torch.zeros(count, dtype=torch.float32, device=unit.device)
        start = 0
        for weight in unit.weights.values():
            if weight.grad is not None:
                whole[start : start + weight.numel()] = weight.grad.flatten()
                weight.grad = None
            start += weight.numel()
        own = torch.empty(self.master.numel(), dtype=torch.float32, device=unit.device)
        dist.reduce_scatter_single(own, whole)
        self.gradient += own.to(self.gradient.device)
        self.missing.clear()

    def publish(self) -> None:
        """Let the next use of the weights see the master copy."""
        self.unit.part.copy_(self.master)


class ShardedEngine:
    """Trains all weights of a split model; see `engine.Engine`, whose place it takes.

    Args:
        sharded: The model, with trainable weights.
        training: AdamW's settings; the learning rate is given at each step.
    """

    def __init__(self, sharded: ShardedModel, training: TrainingSpec) -> None:
        self._sharded = sharded
        self._training = training
        decayed = set(get_parameter_names(sharded.model, [nn.LayerNorm], list(UNDECAYED)))
        self._shards = [_Shard(unit) for unit in sharded.units]
        pieces = [item for shard in self._shards for item in shard.pieces.items()]
        groups = [
            {
                "params": [piece for name, piece in pieces if (name in decayed) == is_decayed],
                "weight_decay": training.weight_decay if is_decayed else 0.0,
            }
            for is_decayed in (True, False)
        ]
        # A rank may have nothing of either kind.
        some = [group for group in groups if group["params"]]
        self._optimizer = make_optimizer(training, some) if some else None
        self._handles = [
            weight.register_post_accumulate_grad_hook(partial(self._arrive, shard))
            for shard in self._shards
            for weight in shard.unit.weights.values()
        ]

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""
        return self._sharded.model(**inputs)

    def backward(self, loss: torch.Tensor) -> None:
        """Add one micro-batch's gradient, summed over ranks, to the step's; a collective."""
        for shard in self._shards:
            shard.missing = set(shard.unit.weights.values())
        loss.backward()
        for shard in self._shards:
            # Weights that the loss does not depend on.
            if shard.missing:
                shard.reduce()

    def step(self, learning_rate: float) -> float:
        """Clip, update the weights and forget the gradient.

        Returns:
            Norm of the whole gradient before clipping; the same on every rank.
        """
        squares = sum(shard.gradient.double().square().sum().item() for shard in self._shards)
        total = torch.tensor(squares, dtype=torch.float64, device=self._sharded.device)
        norm = sum_over_ranks(total) ** 0.5
        # As DeepSpeed does it.
        scale = max(1.0, (norm + 1e-6) / self._training.max_grad_norm)
        for shard in self._shards:
            shard.gradient /= scale
        if self._optimizer is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
        # What the backward pass used last is whole, and of before the step.
        self._sharded.let_go()
        for shard in self._shards:
            shard.publish()
            shard.gradient.zero_()
        return norm

    def state(self) -> OptimizerState | None:
        """A copy of weights and AdamW's state, on rank 0; a collective, after a step."""
        found: dict[str, dict[str, torch.Tensor]] = {"weights": {}, **{n: {} for n in MOMENTS}}
        num_updates = 0
        for shard in self._shards:
            parts = {
                "weights": shard.master,
                **{n: torch.zeros_like(shard.master) for n in MOMENTS},
            }
            for name, piece in shard.pieces.items():
                assert self._optimizer is not None, "it has this piece"
                state = self._optimizer.state[piece]
                num_updates = int(state["step"])
                for moment in MOMENTS:
                    parts[moment][shard.unit.own[name]] = state[moment]
            for key, part in parts.items():
                flat = gathered(part, self._sharded.device)
                if flat is not None:
                    found[key] |= split(flat, shard.unit.shapes)
        if dist.get_rank() != 0:
            return None
        return OptimizerState(**found, num_updates=num_updates)

    def load_state(self, saved: OptimizerState | None) -> None:
        """Go on from what `state` gave, be it of another number of ranks; a collective.

        Args:
            saved: On rank 0, of the same weights; None elsewhere.
        """
        device = self._sharded.device
        count = torch.tensor([saved.num_updates if saved else 0], device=device)
        dist.broadcast(count, src=0)
        self._sharded.let_go()
        for shard in self._shards:
            shapes = shard.unit.shapes
            scatter(shard.master, saved.weights if saved else None, shapes, device)
            shard.publish()
            moments = {name: torch.zeros_like(shard.master) for name in MOMENTS}
            for name, moment in moments.items():
                scatter(moment, getattr(saved, name) if saved else None, shapes, device)
            for name, piece in shard.pieces.items():
                assert self._optimizer is not None, "it has this piece"
                own = shard.unit.own[name]
                self._optimizer.state[piece] = {
                    "step": torch.tensor(float(count.item())),
                    **{key: moment[own].clone() for key, moment in moments.items()},
                }

    @contextlib.contextmanager
    def reopened(self) -> Iterator[None]:
        """Never used: no method that trains all weights changes which."""
        raise AssertionError("all weights are trained from the start")
        yield

    def close(self) -> None:
        """Leave an ordinary split model behind."""
        for handle in self._handles:
            handle.remove()

    def _arrive(self, shard: _Shard, weight: torch.Tensor) -> None:
        """Note a weight's gradient; the last of a unit has them added up over ranks."""
        shard.missing.discard(weight)
        if not shard.missing:
            shard.reduce()
