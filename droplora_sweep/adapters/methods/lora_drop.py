"""LoRA-drop (arXiv 2402.07721): layers whose LoRA changes little share one adapter.

A trial starts as LoRA on every layer. After a sampling phase, each layer's output is measured on
the examples seen so far; of each kind of module (``q_proj``, ...) the layers with the largest
outputs are kept until they have reached a given share of the kind's sum, and the others get one
new adapter together. Training then continues. What is saved is plain LoRA, the shared weights
written out for each layer.

Layers are compared within their kind, because outputs of different kinds differ in scale.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from droplora_sweep.adapters.adapted import (
    ADAPTER,
    PeftAdapted,
    lora_layers,
    saved_modules,
    seeded,
)
from droplora_sweep.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec

MIN_SAMPLING_STEPS = 2
"""The first warmup step has a learning rate of 0, which leaves every output at 0."""


def kept_layers(
    outputs: Mapping[str, float], threshold: float, kind_of: Callable[[str], str] | None = None
) -> set[str]:
    """Choose the layers that keep an adapter of their own.

    Args:
        outputs: Mean squared LoRA output of each layer.
        threshold: Share of a kind's sum that the fewest kept layers reach together.
        kind_of: Returns a layer's kind; None for the last part of its name.

    Returns:
        Their names; a layer that would share with no other is kept too.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in outputs:
        kinds[(kind_of or _kind)(name)].append(name)
    kept: set[str] = set()
    for names in kinds.values():
        total = math.fsum(outputs[name] for name in names)
        names.sort(key=lambda one: -outputs[one])
        reached, num_kept = 0.0, 0
        while num_kept < len(names) and reached < threshold * total:
            reached += outputs[names[num_kept]]
            num_kept += 1
        kept.update(names if num_kept == len(names) - 1 else names[:num_kept])
    return kept


class OutputMeter:
    """Adds up the squared norms of layers' LoRA outputs.

    Attributes:
        counted_BT: True for the tokens of the next forward pass that count.
        sum_L2: For each layer the sum over tokens of its update's squared norm, and the number of
            tokens; float64.
    """

    def __init__(self, num_layers: int, device: torch.device) -> None:
        self.counted_BT = torch.zeros(0, 0, dtype=torch.bool, device=device)
        self.sum_L2 = torch.zeros(num_layers, 2, dtype=torch.float64, device=device)

    def add(self, index: int, layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        """Forward pre-hook of the layer of this index."""
        update_BTO = layer.lora_B[ADAPTER](layer.lora_A[ADAPTER](inputs[0]))
        square_BT = (update_BTO.float() * layer.scaling[ADAPTER]).square().sum(-1)
        self.sum_L2[index, 0] += square_BT[self.counted_BT].sum(dtype=torch.float64)
        self.sum_L2[index, 1] += self.counted_BT.sum()


class LoraDrop(PeftAdapted):
    """LoRA whose layers are dropped to a shared adapter after a sampling phase."""

    def __init__(self, base: PreTrainedModel, spec: AdapterSpec, seed: int) -> None:
        super().__init__(base, spec, seed)
        self._settings = spec.lora_drop
        self._seed = seed
        self._layers = lora_layers(self.peft_model)
        self._facts: dict[str, Any] = {}

    @property
    def facts(self) -> dict[str, Any]:
        """Layers that kept an adapter of their own, and the outputs that were measured."""
        return self._facts

    def num_sampling_steps(self, num_steps: int) -> int:
        """Return the number of optimiser steps before `drop_layers`.

        Raises:
            TrialError: The trial is too short to sample and then train.
        """
        if num_steps <= MIN_SAMPLING_STEPS:
            raise TrialError(
                f"lora_drop samples for at least {MIN_SAMPLING_STEPS} optimiser steps before it "
                f"trains on, and the trial has {num_steps}"
            )
        wanted = max(MIN_SAMPLING_STEPS, round(self._settings.sampling_share * num_steps))
        return min(wanted, num_steps - 1)

    @contextlib.contextmanager
    def measured(self) -> Iterator[OutputMeter]:
        """Let the model's forward passes within it add up each layer's unmasked LoRA output."""
        meter = OutputMeter(len(self._layers), self.peft_model.device)
        handles = [
            layer.register_forward_pre_hook(functools.partial(meter.add, index))
            for index, layer in enumerate(self._layers.values())
        ]
        try:
            yield meter
        finally:
            for handle in handles:
                handle.remove()

    def drop_layers(self, sum_L2: torch.Tensor) -> None:
        """Share one adapter per kind between the layers with small outputs.

        Args:
            sum_L2: The meter's sums, added up over workers.

        Raises:
            TrialError: No layer has any output.
        """
        means = (sum_L2[:, 0] / sum_L2[:, 1].clamp(min=1)).tolist()
        if not any(means):
            raise TrialError("lora_drop measured no output at all after its sampling phase")
        self._share(dict(zip(self._layers, means, strict=True)))

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Drop the layers that were dropped, if the trial had come that far."""
        if facts:
            self._share(facts["lora_drop"]["mean_squared_outputs"])

    def _share(self, outputs: dict[str, float]) -> None:
        """Keep the layers with large outputs, with their weights, in new parameters.

        The shared adapters start afresh.
        """
        kept = kept_layers(outputs, self._settings.threshold, self._kind)
        shared: dict[str, tuple[nn.Linear, nn.Linear]] = {}
        for name, layer in self._layers.items():
            A, B = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
            if name in kept:
                # New parameters: a training engine may have left hooks on the old ones.
                A.weight = nn.Parameter(A.weight.detach().clone())
                B.weight = nn.Parameter(B.weight.detach().clone())
                continue
            kind = self._kind(name)
            if kind not in shared:
                shared[kind] = self._fresh(kind, A, B)
            layer.lora_A[ADAPTER], layer.lora_B[ADAPTER] = shared[kind]
        for wrapper in saved_modules(self.peft_model):
            for module in wrapper.modules_to_save[ADAPTER].modules():
                for own, weight in list(module.named_parameters(recurse=False)):
                    setattr(module, own, nn.Parameter(weight.detach().clone()))
        self._facts = {
            "lora_drop": {
                "kept_layers": sorted(kept),
                "num_layers": len(outputs),
                "mean_squared_outputs": outputs,
                "num_trainable_parameters": self.num_trainable,
            }
        }

    def _kind(self, name: str) -> str:
        """Return the kind of a layer: of one name, and where they have their own, rank and alpha.

        Layers of one kind can share an adapter.
        """
        layer, config = self._layers[name], self.config_dict()
        own = (layer.r[ADAPTER], layer.lora_alpha[ADAPTER])
        common = (config["r"], config["lora_alpha"])
        return _kind(name) if own == common else f"{_kind(name)} {own[0]} {own[1]:g}"

    def _fresh(self, kind: str, A: nn.Linear, B: nn.Linear) -> tuple[nn.Linear, nn.Linear]:
        """A and B as LoRA starts: Kaiming-uniform and zero."""
        digest = hashlib.sha256(f"{self._seed}\n{kind}".encode()).digest()
        device, dtype = A.weight.device, A.weight.dtype
        with seeded(int.from_bytes(digest[:8], "big") >> 1, device):
            new_A = nn.Linear(A.in_features, A.out_features, bias=False)
            new_B = nn.Linear(B.in_features, B.out_features, bias=False)
            nn.init.zeros_(new_B.weight)
        return new_A.to(device, dtype), new_B.to(device, dtype)


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
