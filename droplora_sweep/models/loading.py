"""Load the base model and its tokenizer, or build the model without weights on ``meta``."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils import logging as transformers_logging

from droplora_sweep.errors import InputError

from .folders import ADAPTER_CONFIG, is_of_adapter
from .inspecting import require_quantization
from .resolving import resolve_description, resolve_model
from .sharding import ShardedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from droplora_sweep.spec.trial import ModelSpec


_POSITIONS = re.compile(r"^wpe$|position")
"""Names of embeddings that are looked up by a token's position."""


def build_without_weights(path: Path, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """Build the frozen base model with its modules and shapes, from its configuration alone.

    Args:
        path: Folder with config.json.
        trust_remote_code: Run Python code from the folder.

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
        raise _fault(error, f"cannot build {path}") from error
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
    """Return the names of the classes that continue a text, in lower case."""
    found: set[str] = set()
    for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        found |= {name.lower() for name in ((names,) if isinstance(names, str) else names)}
    return found


def num_embedded_tokens(model: PreTrainedModel) -> int:
    """Return the number of token ids that have an embedding."""
    return next(model.get_input_embeddings().parameters()).shape[0]


def num_learned_positions(model: PreTrainedModel, context: int | None) -> int | None:
    """Return the number of learned positions; None where positions are computed."""
    tokens = model.get_input_embeddings()
    for name, module in model.named_modules():
        is_other = isinstance(module, nn.Embedding) and module is not tokens
        if is_other and _POSITIONS.search(name.rpartition(".")[2]):
            # Some have a few more rows than positions.
            return min(module.num_embeddings, context or module.num_embeddings)
    return None


def _no_decoder(kind: str, problem: str) -> InputError:
    text = f"must be a causal language model (a decoder), got {kind}, {problem}"
    return InputError.of("model.path", text)


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_sharded_model(
    spec: ModelSpec, device: torch.device, *, offload: bool = False
) -> ShardedModel:
    """Load the frozen base model split over all ranks; a collective.

    Weights are mapped from their files, in the precision that they have there, and each rank reads
    its part alone. (Where transformers has to convert them, it does so in the CPU's memory.)

    Args:
        spec: The model, and its precision.
        device: Device that computes.
        offload: True keeps the parts in the CPU's memory.

    Raises:
        InputError: As `load_base_model` does.
    """
    model = _load(spec, torch.device("cpu"), "auto")
    return ShardedModel(model, DTYPES[spec.dtype], device, offload=offload)


def load_base_model(spec: ModelSpec, device: torch.device | str = "cpu") -> PreTrainedModel:
    """Load the frozen base model: evaluation mode, no gradients.

    Weights are safetensors; code from the model's folder is run only where the spec says so. An
    adapter that lies in the folder is not loaded.

    Args:
        spec: The model, and its precision.
        device: Device of its weights.

    Raises:
        InputError: It cannot be found (see `resolve_model`), is not a causal language model, is to
            be quantised where bitsandbytes is not installed, or has not the attention that is
            asked for.
    """
    return _load(spec, torch.device(device), DTYPES[spec.dtype])


def _load(
    spec: ModelSpec, device: torch.device, dtype: torch.dtype | Literal["auto"]
) -> PreTrainedModel:
    path = resolve_model(spec)
    transformers_logging.disable_progress_bar()
    try:
        require_decoder(
            AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=spec.trust_remote_code
            )
        )
        with _without_adapter(path) as bare:
            model = AutoModelForCausalLM.from_pretrained(
                bare,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
                use_safetensors=True,
                attn_implementation=None if spec.attention == "auto" else spec.attention,
                **_placement(spec, device),
                **_quantization(spec),
            )
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        if spec.attention == "auto":
            # Code of the model's own, which needs further packages.
            raise InputError.of("model.path", f"cannot load {spec.path}: {reason}") from error
        raise InputError.of("model.attention", f"must be possible here, but {reason}") from error
    except (ValueError, OSError) as error:
        raise _fault(error, f"cannot load {spec.path}") from error
    loaded: PreTrainedModel = model
    loaded.name_or_path = loaded.config.name_or_path = str(path)
    loaded.requires_grad_(False)
    loaded.train(False)
    return loaded


def _fault(error: Exception, problem: str) -> InputError:
    """Return why transformers refuses a model, at the field that a user can change."""
    text = str(error).strip()
    if "trust_remote_code" in text:
        needed = (
            "must be true for a model whose Python code comes with it, which is to be read first"
        )
        return InputError.of("model.trust_remote_code", f"{needed}: {problem}")
    return InputError.of("model.path", f"{problem}: {text.splitlines()[0]}")


@contextlib.contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """Yield the folder, or links to all but the adapter, which transformers would load too."""
    if not (folder / ADAPTER_CONFIG).is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="droplora-base-") as links:
        for file in folder.iterdir():
            if not is_of_adapter(file):
                (Path(links) / file.name).symlink_to(file.resolve())
        yield Path(links)


def _placement(spec: ModelSpec, device: torch.device) -> dict[str, Any]:
    """Return what brings weights straight to a GPU, never all of them to the CPU's memory."""
    if device.type == "cpu" and spec.quantization == "none":
        return {}
    return {"device_map": {"": device}}


def _quantization(spec: ModelSpec) -> dict[str, Any]:
    """Return what lets bitsandbytes store the linear layers as QLoRA does (arXiv 2305.14314).

    4 bits are NF4 with doubly quantised constants; 8 bits are LLM.int8 (arXiv 2208.07339). The
    output layer and everything that is not linear keeps the spec's precision.
    """
    if spec.quantization == "none":
        return {}
    require_quantization(spec)
    config = BitsAndBytesConfig(
        load_in_4bit=spec.quantization == "4bit",
        load_in_8bit=spec.quantization == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPES[spec.dtype],
    )
    return {"quantization_config": config}


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """Load the tokenizer; it has EOS and pad tokens, and pads on the left, as decoding needs.

    A tokenizer without a pad token pads with EOS: padding is masked or lies behind the last
    token of a sequence, so its value is never seen, and no embedding is added to the model.

    Raises:
        InputError: It cannot be found or read, or has no EOS token to end a response with.
    """
    path = resolve_description(spec)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
            padding_side="left",
        )
    except (ValueError, OSError) as error:
        raise _fault(error, f"cannot load the tokenizer of {spec.path}") from error
    if tokenizer.eos_token_id is None:
        problem = f"must have a tokenizer with an EOS token, got {spec.path}"
        raise InputError.of("model.path", problem)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
