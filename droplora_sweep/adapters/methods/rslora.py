"""Rank-stabilised LoRA (arXiv 2312.03732): the update is scaled by alpha / sqrt(rank)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.adapters.adapted import PeftAdapted, droplora_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> PeftAdapted:
    """LoRA scaled by the square root of the rank, as PEFT has it."""
    return PeftAdapted(base, droplora_config(spec, seed, use_rslora=True), seed)
