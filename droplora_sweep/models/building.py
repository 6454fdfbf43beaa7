"""The base model as transformers builds it, without numbers: on torch's ``meta`` device."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

_POSITIONS = re.compile(r"^wpe$|position")
"""Names of embeddings that are looked up by a token's place."""


def build_without_weights(path: Path, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """The frozen base model with its modules and shapes, from its configuration alone.

    Args:
        path: A folder with config.json.
        trust_remote_code: Whether Python code from the folder is run.

    Raises:
        InputError: It is no causal language model, or transformers cannot build it.
    """
    try:
        config = AutoConfig.from_pretrained(
            path, local_files_only=True, trust_remote_code=trust_remote_code
        )
        require_decoder(config)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, trust_remote_code=trust_remote_code
            )
    except (ValueError, OSError, AttributeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError([Fault("", "model.path", f"cannot build {path}: {reason}")]) from error
    model.requires_grad_(False)
    model.train(False)
    return model


def require_decoder(config: Any) -> None:
    """Refuse what does not continue a text from left to right.

    Raises:
        InputError: The model is an encoder, an encoder-decoder, or has no language-model head.
    """
    named = (config.architectures or [None])[0]
    kind = named or type(config).__name__
    if getattr(config, "is_encoder_decoder", False):
        raise _no_decoder(kind, "an encoder-decoder")
    reads_both_ways = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if reads_both_ways and getattr(config, "is_decoder", None) is False:
        raise _no_decoder(kind, "an encoder")
    if named is not None and not hasattr(config, "auto_map") and named.lower() not in _causal():
        raise _no_decoder(kind, "which transformers does not load as one")


def _causal() -> set[str]:
    """Names of the classes that continue a text, in lower case."""
    found: set[str] = set()
    for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        found |= {name.lower() for name in ((names,) if isinstance(names, str) else names)}
    return found


def num_embedded_tokens(model: PreTrainedModel) -> int:
    """How many token ids the model has an embedding of."""
    return next(model.get_input_embeddings().parameters()).shape[0]


def num_learned_positions(model: PreTrainedModel, context: int | None) -> int | None:
    """How many tokens there are embeddings of places for; None where places are computed."""
    tokens = model.get_input_embeddings()
    for name, module in model.named_modules():
        is_other = isinstance(module, nn.Embedding) and module is not tokens
        if is_other and _POSITIONS.search(name.rpartition(".")[2]):
            # Some have a few more rows than places.
            return min(module.num_embeddings, context or module.num_embeddings)
    return None


def _no_decoder(kind: str, problem: str) -> InputError:
    text = f"must be a causal language model (a decoder), got {kind}, {problem}"
    return InputError([Fault("", "model.path", text)])
