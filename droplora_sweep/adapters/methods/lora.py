"""PEFT's own LoRA (arXiv 2106.09685); with a pruning rate, DropLoRA (arXiv 2508.17337)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.adapters.adapted import PeftAdapted, droplora_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> PeftAdapted:
    """LoRA as PEFT has it, masked where the spec prunes."""
    return PeftAdapted(base, droplora_config(spec, seed), seed)
