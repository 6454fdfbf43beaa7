"""The base model and its tokenizer in memory, ready to be frozen under an adapter."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from droplora_sweep.errors import Fault, InputError

from .building import require_decoder
from .quantization import require_quantization
from .resolving import ADAPTER_CONFIG, is_of_adapter, resolve_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from droplora_sweep.spec.trial import ModelSpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_base_model(spec: ModelSpec, device: torch.device | str = "cpu") -> PreTrainedModel:
    """Load the frozen base model: evaluation mode, no gradients.

    Weights are safetensors; code from the model's folder is run only where the spec says so. An
    adapter that lies in the folder is not loaded.

    Args:
        spec: Which model, and its precision.
        device: Where it is put.

    Raises:
        InputError: It cannot be found (see `resolve_model`), is not a causal language model, or is
            to be quantised where bitsandbytes is not installed.
    """
    path = resolve_model(spec).path
    device = torch.device(device)
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
                dtype=DTYPES[spec.dtype],
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
                use_safetensors=True,
                **_quantization(spec, device),
            )
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError([Fault("", "model.path", f"cannot load {spec.path}: {reason}")]) from error
    loaded: PreTrainedModel = model
    loaded.name_or_path = loaded.config._name_or_path = str(path)
    loaded.requires_grad_(False)
    loaded.train(False)
    if spec.quantization == "none":
        torch.nn.Module.to(loaded, device)
    return loaded


@contextlib.contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """The folder, or links to all of it but the adapter that transformers would load with it."""
    if not (folder / ADAPTER_CONFIG).is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="droplora-base-") as links:
        for file in folder.iterdir():
            if not is_of_adapter(file):
                (Path(links) / file.name).symlink_to(file.resolve())
        yield Path(links)


def _quantization(spec: ModelSpec, device: torch.device) -> dict[str, Any]:
    """How bitsandbytes stores the linear layers, as QLoRA does (arXiv 2305.14314).

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
    return {"quantization_config": config, "device_map": {"": device}}


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """Load the tokenizer; it has EOS and pad tokens, and pads on the left, as decoding needs.

    A tokenizer without a pad token pads with EOS: padding is masked or lies behind the last
    token of a sequence, so its value is never seen, and no embedding is added to the model.

    Raises:
        InputError: It cannot be found or read, or has no EOS token to end a response with.
    """
    path = resolve_model(spec).path
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=spec.trust_remote_code,
            padding_side="left",
        )
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        problem = f"cannot load the tokenizer of {spec.path}: {reason}"
        raise InputError([Fault("", "model.path", problem)]) from error
    if tokenizer.eos_token_id is None:
        problem = f"must have a tokenizer with an EOS token, got {spec.path}"
        raise InputError([Fault("", "model.path", problem)])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
