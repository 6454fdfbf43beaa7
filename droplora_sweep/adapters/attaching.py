"""Put what a trial trains on a resident base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .methods import METHODS

if TYPE_CHECKING:
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
