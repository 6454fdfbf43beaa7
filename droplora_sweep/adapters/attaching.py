"""Attach what a method trains to a base model: a resident one, or one as transformers builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peft.tuners.lora.layer import LoraLayer

from .adapted import PeftAdapted
from .methods import METHODS
from .sizes import SAVED_AT_TWICE_THE_RANK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec

    from .adapted import Adapted


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> Adapted:
    """Put the method's adapter on the base model; `Adapted.detach` undoes it.

    Args:
        base: Frozen base model in evaluation mode, without an adapter.
        spec: What to attach.
        seed: The trial's seed.

    Raises:
        InputError: The targets match no layer, or a layer that cannot be pruned.
    """
    return METHODS[spec.method](base, spec, seed)


_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Attached:
    """An adapter as it was attached.

    Attributes:
        layers: Name of each layer with an adapter to the shape of its update (out, in); none of a
            full model.
        num_trained: Numbers that are trained.
        num_saved: Numbers in the files that a trial leaves.
    """

    layers: Mapping[str, tuple[int, int]]
    num_trained: int
    num_saved: int


def attach_and_count(base: PreTrainedModel, spec: AdapterSpec) -> Attached:
    """Attach what a trial trains, count it, and undo it.

    Args:
        base: Frozen, possibly without numbers (on ``meta``).
        spec: What to attach.

    Raises:
        InputError: The targets match no layer, or one that the method cannot have.
    """
    if spec.method == "full":
        num_parameters = sum(weight.numel() for weight in base.parameters())
        return Attached({}, num_parameters, num_parameters)
    starts_from_weights = spec.method in SAVED_AT_TWICE_THE_RANK
    # They have LoRA's shapes, and read the base model's numbers.
    method = "lora" if starts_from_weights else spec.method
    adapted = METHODS[method](base, spec.model_copy(update={"method": method}), 0)
    assert isinstance(adapted, PeftAdapted)
    try:
        layers = {
            name.removeprefix(_PREFIX): _shape_of_update(module)
            for name, module in adapted.model.named_modules()
            if isinstance(module, LoraLayer)
        }
        num_trained = sum(
            weight.numel() for weight in adapted.model.parameters() if weight.requires_grad
        )
        # An output layer that is tied to the embedding is saved with it.
        num_saved = sum(weight.numel() for weight in adapted.weights().values())
    finally:
        adapted.detach()
    return Attached(layers, num_trained, num_saved * (1 + starts_from_weights))


def _shape_of_update(layer: LoraLayer) -> tuple[int, int]:
    assert layer.out_features is not None, "an attached layer has a shape"
    assert layer.in_features is not None, "an attached layer has a shape"
    return layer.out_features, layer.in_features
