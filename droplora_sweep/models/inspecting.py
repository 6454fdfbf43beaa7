"""A model from its config.json and its safetensors headers, or as published; no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError

from .folders import INDEX_FILE, adapter_note, shards, weight_files
from .resolving import hub_model, resolve_description, resolve_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.spec.trial import ModelSpec


def require_quantization(spec: ModelSpec) -> None:
    """Refuse to quantise where bitsandbytes is not installed.

    Raises:
        InputError: It is needed and not installed.
    """
    if spec.quantization != "none" and find_spec("bitsandbytes") is None:
        problem = (
            f"must be none where bitsandbytes is not installed, got {spec.quantization}: "
            "pip install 'droplora-sweep[quantization]'"
        )
        raise InputError.of("model.quantization", problem)


PUBLISHED_MODELS = Path(__file__).parent / "published_models.json"

GATED_TYPES = ("llama", "mistral", "qwen2")
"""``model_type`` of the decoders with Llama's layers: attention, and an MLP with a gate."""


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """Sizes of a Llama-like decoder.

    Attributes:
        vocabulary: Tokens of its vocabulary, V.
        width: Numbers of a token's hidden state, H.
        mlp_width: Numbers between the MLP's projections, F.
        num_layers: L.
        num_heads: Heads of queries.
        num_kv_heads: Heads of keys and of values; fewer with grouped queries.
        head_width: Numbers of a head.
        context_tokens: The most tokens it can read.
        is_tied: True where the output layer is the embedding.
        has_qkv_bias: True where q, k and v have a bias, as Qwen2's.
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
        """Return the shape of each tensor as ``transformers`` stores it; a tied one once."""
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
    """Read a config.json; None for an architecture that is not Llama's, or without a field."""
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


# A safetensors file starts with the length of its JSON header: 8 bytes, little-endian. The
# format caps the header at 100 MB, so a larger length means another kind of file.
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """Sizes of a base model.

    Attributes:
        architecture: Class name from config.json, e.g. ``LlamaForCausalLM``.
        shapes: Name of each stored tensor to its shape.
        num_parameters: Numbers stored in the files; tied weights count once.
        weight_bytes: Size of the weight files.
        context_tokens: The most tokens it can read; None where config.json names no limit.
        dimensions: Its sizes; None for an architecture that is not Llama's.
        path: Its folder; None of a published model that is not here.
        notes: Remarks on its folder for the user, one line each.
    """

    architecture: str
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    num_parameters: int
    weight_bytes: int
    context_tokens: int | None = None
    dimensions: Dimensions | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()


def inspect(spec: ModelSpec) -> ModelSummary:
    """Read a model's shapes wherever it is; a Hub model's weights are not downloaded for it.

    Raises:
        OutOfReachError: The Hub cannot be reached, or asks for a login.
        InputError: The model is missing, unpinned or incomplete, or a file cannot be read.
    """
    hub = hub_model(spec)
    if hub is None or hub.here() is not None:
        return inspect_model(resolve_model(spec))
    return _summary(resolve_description(spec), *hub.published_shapes())


def inspect_model(path: Path) -> ModelSummary:
    """Read a model's shapes without loading it; a sharded model's shards are read in turn.

    Args:
        path: A folder as `resolve_model` returns it.

    Raises:
        InputError: config.json or a weight file cannot be read, or a shard is missing.
    """
    files = _shards(path)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes |= read_shapes(file)
    return _summary(path, shapes, sum(file.stat().st_size for file in files))


def context_tokens(spec: ModelSpec) -> int | None:
    """Return the most tokens that a model can read, from its configuration alone.

    Raises:
        OutOfReachError: The Hub cannot be reached, or asks for a login.
        InputError: The model is missing or unpinned, or its configuration cannot be read.
    """
    return _context_tokens(_read_json(resolve_description(spec) / "config.json"))


def _summary(path: Path, shapes: dict[str, tuple[int, ...]], num_bytes: int) -> ModelSummary:
    config = _read_json(path / "config.json")
    architectures = config.get("architectures") or ["unknown"]
    return ModelSummary(
        architecture=str(architectures[0]),
        shapes=shapes,
        num_parameters=sum(math.prod(shape) for shape in shapes.values()),
        weight_bytes=num_bytes,
        context_tokens=_context_tokens(config),
        dimensions=read_dimensions(config),
        path=path,
        notes=tuple(filter(None, [adapter_note(path)])),
    )


@cache
def published_models() -> dict[str, ModelSummary]:
    """Return well-known models by Hub id, from ``published_models.json``, which names its source.

    Parameters are as the publisher counts them; all are stored in 16 bits.
    """
    found = {}
    for hub_id, config in json.loads(PUBLISHED_MODELS.read_text("utf-8"))["models"].items():
        dimensions = read_dimensions(config)
        assert dimensions is not None, hub_id
        found[hub_id] = ModelSummary(
            architecture=config["architecture"],
            shapes=dimensions.shapes(),
            num_parameters=config["num_parameters"],
            weight_bytes=2 * config["num_parameters"],
            context_tokens=dimensions.context_tokens,
            dimensions=dimensions,
        )
    return found


def _context_tokens(config: dict[str, Any]) -> int | None:
    found = {**config, **(config.get("text_config") or {})}.get("max_position_embeddings")
    return found if isinstance(found, int) else None


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file by name, in the file's order.

    Raises:
        InputError: It is not a safetensors file.
    """
    with file.open("rb") as stream:
        num_bytes = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        header = stream.read(num_bytes) if num_bytes <= _MAX_HEADER_BYTES else b""
    try:
        entries = json.loads(header)
        return {
            name: tuple(entry["shape"]) for name, entry in entries.items() if name != "__metadata__"
        }
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise _fault(f"must be a safetensors file, got {file}") from error


def _shards(path: Path) -> list[Path]:
    """Return the files that the index names, or every safetensors file where there is no index."""
    index = path / INDEX_FILE
    if not index.is_file():
        return weight_files(path)
    _read_json(index)
    names = shards(path)
    if not names:
        raise _fault(f"must name its shards in weight_map, got {index}")
    files = [path / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise _fault(f"lacks {len(missing)} of {len(files)} shards, the first {missing[0]}: {path}")
    return files


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _fault(f"must hold a readable {file.name}, got {file.parent}: {error}") from error
    if not isinstance(value, dict):
        raise _fault(f"must hold a JSON object in {file.name}, got {file.parent}")
    return value


def _fault(problem: str) -> InputError:
    return InputError.of("model.path", problem)
