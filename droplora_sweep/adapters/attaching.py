"""Attach adapters to a base model, to train them or to count their numbers."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.spec.methods import method_of

from .adapted import Adapted, PeftAdapted, lora_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peft.tuners.lora.layer import LoraLayer
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec
    from droplora_sweep.spec.methods import Method


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> Adapted:
    """Put the method's adapter on the base model; `Adapted.detach` undoes it.

    Args:
        base: Frozen base model in evaluation mode, without an adapter.
        spec: The adapter.
        seed: The trial's seed.

    Raises:
        InputError: The targets match no layer, or a layer that cannot be pruned.
        SweepError: A package's method has no class that attaches it.
    """
    attached_by: Any = _class_of(method_of(spec.method))
    adapted: Adapted = attached_by(base, spec, seed)
    return adapted


def _class_of(method: Method) -> type[Adapted]:
    module, _, name = method.attached_by.partition(":")
    place = f"adapter.method: {method.name} is attached by {method.attached_by}"
    try:
        found = getattr(importlib.import_module(module), name)
    # Whatever a package raises, the user needs to know which one it was.
    except Exception as error:
        raise SweepError(
            f"{place}, which cannot be imported: {type(error).__name__}: {error}"
        ) from error
    wanted = PeftAdapted if method.has_rank else Adapted
    if not (isinstance(found, type) and issubclass(found, wanted)):
        raise SweepError(f"{place}, which must be a subclass of {wanted.__name__}")
    return found


@dataclass(frozen=True)
class Attached:
    """Sizes of an adapter that was attached.

    Attributes:
        layers: Shape (out, in) of the update of each layer with an adapter, by name; empty for a
            full model.
        num_trained: Numbers that are trained.
        num_saved: Numbers in the files that a trial leaves.
    """

    layers: Mapping[str, tuple[int, int]]
    num_trained: int
    num_saved: int


def attach_and_count(base: PreTrainedModel, spec: AdapterSpec) -> Attached:
    """Attach an adapter, count its numbers, and undo it.

    Args:
        base: Frozen base model, possibly without numbers (on ``meta``).
        spec: The adapter.

    Raises:
        InputError: The targets match no layer, or one that the method cannot have.
    """
    method = method_of(spec.method)
    if not method.has_rank:
        num_parameters = sum(weight.numel() for weight in base.parameters())
        return Attached({}, num_parameters, num_parameters)
    if method.starts_from_base:
        # It has LoRA's shapes, and would read the base model's numbers.
        adapted: Adapted = PeftAdapted(base, spec, 0, options={})
    else:
        adapted = attach(base, spec, 0)
    assert isinstance(adapted, PeftAdapted)
    try:
        layers = {
            name: _shape_of_update(layer) for name, layer in lora_layers(adapted.model).items()
        }
        num_trained = sum(
            weight.numel() for weight in adapted.model.parameters() if weight.requires_grad
        )
        # An output layer that is tied to the embedding is saved with it.
        times = method.saved_rank if method.starts_from_base else 1
        num_saved = sum(
            weight.numel() * (times if ".lora_" in name else 1)
            for name, weight in adapted.weights().items()
        )
    finally:
        adapted.detach()
    return Attached(layers, num_trained, num_saved)


def _shape_of_update(layer: LoraLayer) -> tuple[int, int]:
    assert layer.out_features is not None, "an attached layer has a shape"
    assert layer.in_features is not None, "an attached layer has a shape"
    return layer.out_features, layer.in_features
