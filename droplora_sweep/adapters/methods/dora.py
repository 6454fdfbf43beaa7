"""DoRA (arXiv 2402.09353): magnitude and direction of each weight are trained apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.adapters.adapted import PeftAdapted, droplora_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec


def attach(base: PreTrainedModel, spec: AdapterSpec, seed: int) -> PeftAdapted:
    """DoRA as PEFT has it, its direction's update masked where the spec prunes.

    Its adapter holds magnitudes too: PEFT loads it, vLLM's LoRA loader does not.
    """
    return PeftAdapted(base, droplora_config(spec, seed, use_dora=True), seed)
