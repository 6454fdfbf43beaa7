"""PiSSA (arXiv 2404.02948): the adapter starts as the principal singular triples of the weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .decomposed import Components, Decomposed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> Decomposed:
    """PiSSA from the exact decomposition, as PEFT's ``init_lora_weights="pissa"``."""
    return Decomposed(base, spec, seed, Components.PRINCIPAL)
