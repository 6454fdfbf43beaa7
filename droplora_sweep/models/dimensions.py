"""A decoder's dimensions, from its config.json or as published, and the tensors they mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GATED_TYPES = ("llama", "mistral", "qwen2")
"""``model_type`` of the decoders with Llama's layers: attention, and an MLP with a gate."""


@dataclass(frozen=True)
class Dimensions:
    """What a Llama-like decoder is made of.

    Attributes:
        vocabulary: Tokens of its vocabulary, V.
        width: Numbers of a token's hidden state, H.
        mlp_width: Numbers between the MLP's projections, F.
        num_layers: L.
        num_heads: Heads of queries.
        num_kv_heads: Heads of keys and of values; fewer with grouped queries.
        head_width: Numbers of a head.
        context_tokens: The most tokens it can read.
        is_tied: Whether the output layer is the embedding.
        has_qkv_bias: Whether q, k and v have a bias, as Qwen2's have.
    """

    vocabulary: int
    width: int
    mlp_width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    context_tokens: int | None
    is_tied: bool
    has_qkv_bias: bool = False

    @property
    def query_width(self) -> int:
        """Numbers of a token's queries; H unless heads have a width of their own."""
        return self.num_heads * self.head_width

    @property
    def kv_width(self) -> int:
        """Numbers of a token's keys, and of its values."""
        return self.num_kv_heads * self.head_width

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of each tensor to its shape, as ``transformers`` stores them; a tied one once."""
        return dict(self._tensors())

    def _tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "model.embed_tokens.weight", (self.vocabulary, self.width)
        for number in range(self.num_layers):
            layer = f"model.layers.{number}"
            yield f"{layer}.self_attn.q_proj.weight", (self.query_width, self.width)
            yield f"{layer}.self_attn.k_proj.weight", (self.kv_width, self.width)
            yield f"{layer}.self_attn.v_proj.weight", (self.kv_width, self.width)
            yield f"{layer}.self_attn.o_proj.weight", (self.width, self.query_width)
            if self.has_qkv_bias:
                for name in ("q", "k", "v"):
                    size = self.query_width if name == "q" else self.kv_width
                    yield f"{layer}.self_attn.{name}_proj.bias", (size,)
            yield f"{layer}.mlp.gate_proj.weight", (self.mlp_width, self.width)
            yield f"{layer}.mlp.up_proj.weight", (self.mlp_width, self.width)
            yield f"{layer}.mlp.down_proj.weight", (self.width, self.mlp_width)
            yield f"{layer}.input_layernorm.weight", (self.width,)
            yield f"{layer}.post_attention_layernorm.weight", (self.width,)
        yield "model.norm.weight", (self.width,)
        if not self.is_tied:
            yield "lm_head.weight", (self.vocabulary, self.width)


def read_dimensions(config: Mapping[str, Any]) -> Dimensions | None:
    """What a config.json says; None for an architecture that is not Llama's, or lacks a field."""
    if config.get("model_type") not in GATED_TYPES:
        return None
    try:
        num_heads = int(config["num_attention_heads"])
        width = int(config["hidden_size"])
        return Dimensions(
            vocabulary=int(config["vocab_size"]),
            width=width,
            mlp_width=int(config["intermediate_size"]),
            num_layers=int(config["num_hidden_layers"]),
            num_heads=num_heads,
            num_kv_heads=int(config.get("num_key_value_heads") or num_heads),
            head_width=int(config.get("head_dim") or width // num_heads),
            context_tokens=config.get("max_position_embeddings"),
            is_tied=bool(config.get("tie_word_embeddings", False)),
            has_qkv_bias=config["model_type"] == "qwen2",
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class PublishedModel:
    """A model whose config.json is known without its files.

    Attributes:
        hub_id: Its name on the Hub.
        architecture: Class name, e.g. ``LlamaForCausalLM``.
        num_parameters: As its publisher counts them.
        dimensions: What it is made of.
    """

    hub_id: str
    architecture: str
    num_parameters: int
    dimensions: Dimensions


@cache
def published_models() -> dict[str, PublishedModel]:
    """Well-known models by Hub id, from ``published_models.json``, which names its source."""
    text = files("droplora_sweep.models").joinpath("published_models.json").read_text("utf-8")
    found = {}
    for hub_id, config in json.loads(text)["models"].items():
        dimensions = read_dimensions(config)
        assert dimensions is not None, hub_id
        found[hub_id] = PublishedModel(
            hub_id, config["architecture"], config["num_parameters"], dimensions
        )
    return found
