"""Put an adapter on a resident base model, and take it off without a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from peft import PeftModel, get_peft_model

from droplora_sweep.errors import Fault, InputError

from .droplora import DropLoraConfig, unmasked_layers
from .registry import METHODS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from droplora_sweep.spec.trial import AdapterSpec


def attach(model: PreTrainedModel, spec: AdapterSpec, seed: int) -> PeftModel:
    """Give the model a new adapter, in the precision of the base weights.

    The adapter's first values depend on the spec and the seed alone; torch's RNG is left as it
    was. PEFT's default start: A Kaiming-uniform, B zero.

    Args:
        model: Frozen base model in evaluation mode, without an adapter.
        spec: What to attach.
        seed: The trial's seed.

    Raises:
        InputError: The targets match no layer, or a layer that cannot be pruned.
    """
    config = METHODS[spec.method](spec, seed)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            # Adapters stay in the base's dtype: DeepSpeed keeps the fp32 master weights.
            peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
        except ValueError as error:
            if "arget modules" not in str(error) and "arget module" not in str(error):
                raise
            problem = f"must match layers of the model, got {list(spec.target_modules)}: {error}"
            raise InputError([Fault("", "adapter.target_modules", problem)]) from error
    assert isinstance(peft_model, PeftModel)
    if isinstance(config, DropLoraConfig) and config.pruning_rate > 0:
        unmasked = unmasked_layers(peft_model)
        if unmasked:
            detach(peft_model)
            problem = f"must match plain linear layers with a pruning rate above 0, got {unmasked}"
            raise InputError([Fault("", "adapter.target_modules", problem)])
    return peft_model


def detach(peft_model: PeftModel) -> PreTrainedModel:
    """Remove the adapter; the base model is again the object and the values it was."""
    base: PreTrainedModel = peft_model.unload()
    # PEFT leaves its configurations on the base, where the next attach would find them.
    if hasattr(base, "peft_config"):
        del base.peft_config
    base.train(False)
    return base
