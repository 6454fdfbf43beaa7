"""MiLoRA (arXiv 2406.09044): the adapter starts as the minor singular triples of the weight.

The principal ones, which hold what pretraining learned, stay frozen in the base model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .decomposed import Components, Decomposed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> Decomposed:
    """MiLoRA: PiSSA's construction on the smallest singular values."""
    return Decomposed(base, spec, seed, Components.MINOR)
