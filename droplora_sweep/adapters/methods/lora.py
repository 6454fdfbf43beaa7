"""PEFT's own LoRA (arXiv 2106.09685): what DropLoRA is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peft import LoraConfig

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import AdapterSpec


def lora_arguments(spec: AdapterSpec) -> dict[str, Any]:
    """The part of a `LoraConfig` that all methods share."""
    return {
        "task_type": "CAUSAL_LM",
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": spec.dropout,
        "target_modules": list(spec.target_modules),
        "bias": "none",
    }


def config(spec: AdapterSpec, seed: int) -> LoraConfig:
    """The configuration of ``method: lora``; LoRA draws nothing from the seed while training."""
    return LoraConfig(**lora_arguments(spec))
