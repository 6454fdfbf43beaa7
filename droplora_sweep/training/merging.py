"""A base model with a trial's update added to its weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from droplora_sweep.files import disk_faults_named
from droplora_sweep.models.loading import DTYPES, load_base_model, load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from droplora_sweep.spec import ModelSpec


def merged_model(spec: ModelSpec, adapter: Path) -> PreTrainedModel:
    """The model of the sum, which is computed in float32 and rounded once, to the spec's precision.

    Where the adapter changes the embeddings or the output layer, and the base model has one weight
    for both, the merged model has two: the update of one must not reach the other.

    Args:
        spec: The base model.
        adapter: Folder of a PEFT adapter on it.
    """
    plain = spec.model_copy(update={"quantization": "none", "dtype": "float32"})
    base = load_base_model(plain)
    with warnings.catch_warnings():
        # That PEFT calls what transformers deprecates is nothing to tell a user.
        warnings.simplefilter("ignore", FutureWarning)
        # Of weights that are tied it warns of what is taken care of here.
        warnings.filterwarnings("ignore", ".*tie_word_embeddings", UserWarning)
        adapted: Any = PeftModel.from_pretrained(base, str(adapter))
        _untie(adapted.get_base_model())
        merged: Any = adapted.merge_and_unload(safe_merge=True)
    torch.nn.Module.to(merged, DTYPES[spec.dtype])
    merged.config.dtype = DTYPES[spec.dtype]
    _say_whether_tied(merged)
    model: PreTrainedModel = merged
    return model


def write_merged(spec: ModelSpec, adapter: Path, folder: Path) -> None:
    """Write `merged_model`, with its tokenizer.

    Args:
        spec: The base model.
        adapter: Folder of a PEFT adapter on it.
        folder: Exists.

    Raises:
        InputError: The base model is not there.
        SweepError: The folder cannot be written.
    """
    with disk_faults_named(folder):
        merged_model(spec, adapter).save_pretrained(folder, max_shard_size="5GB")
        load_tokenizer(spec).save_pretrained(folder)


def _untie(model: Any) -> None:
    """Give the output layer a weight of its own where an adapter changes that or the embeddings."""
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or not any(isinstance(each, BaseTunerLayer) for each in (embeddings, head)):
        return
    below = getattr(head, "base_layer", head)
    if below.weight is getattr(embeddings, "base_layer", embeddings).weight:
        below.weight = torch.nn.Parameter(below.weight.detach().clone(), requires_grad=False)


def _say_whether_tied(model: Any) -> None:
    """Let the configuration say what the weights are, for whoever loads them.

    A base model may say that they are tied and come with a head of its own all the same.
    """
    head = model.get_output_embeddings()
    if head is None or head.weight is model.get_input_embeddings().weight:
        return
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}
