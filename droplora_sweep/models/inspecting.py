"""What a model is, read from config.json and the headers of its safetensors files: no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError

from .dimensions import Dimensions, published_models, read_dimensions
from .resolving import INDEX_FILE, adapter_note, weight_files

if TYPE_CHECKING:
    from pathlib import Path

# A safetensors file starts with the length of its JSON header: 8 bytes, little-endian. The
# format caps the header at 100 MB, so a larger length means another kind of file.
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class ModelSummary:
    """Sizes of a base model.

    Attributes:
        architecture: Class name from config.json, e.g. ``LlamaForCausalLM``.
        shapes: Name of each stored tensor to its shape.
        num_parameters: Numbers stored in the files; tied weights count once.
        weight_bytes: Size of the weight files.
        context_tokens: The most tokens it can read; None where config.json names no limit.
        dimensions: What it is made of; None for an architecture that is not Llama's.
        path: Its folder; None of a published model that is not here.
        notes: What a user should know of its folder though it is no fault, one line each.
    """

    architecture: str
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    num_parameters: int
    weight_bytes: int
    context_tokens: int | None = None
    dimensions: Dimensions | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()


def inspect_model(path: Path) -> ModelSummary:
    """Read a model's shapes without loading it; a sharded model's shards are read in turn.

    Args:
        path: A folder as `resolve_model` returns it.

    Raises:
        InputError: config.json or a weight file cannot be read, or a shard is missing.
    """
    config = _read_json(path / "config.json")
    architectures = config.get("architectures") or ["unknown"]
    files = _shards(path)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes |= read_shapes(file)
    return ModelSummary(
        architecture=str(architectures[0]),
        shapes=shapes,
        num_parameters=sum(math.prod(shape) for shape in shapes.values()),
        weight_bytes=sum(file.stat().st_size for file in files),
        context_tokens=_context_tokens(config),
        dimensions=read_dimensions(config),
        path=path,
        notes=tuple(filter(None, [adapter_note(path)])),
    )


def inspect_published(hub_id: str) -> ModelSummary | None:
    """What a well-known model is, without its files; None for any other.

    Its weights are taken to be stored in 16 bits, as all of these are.
    """
    published = published_models().get(hub_id)
    if published is None:
        return None
    dimensions = published.dimensions
    return ModelSummary(
        architecture=published.architecture,
        shapes=dimensions.shapes(),
        num_parameters=published.num_parameters,
        weight_bytes=2 * published.num_parameters,
        context_tokens=dimensions.context_tokens,
        dimensions=dimensions,
    )


def _context_tokens(config: dict[str, Any]) -> int | None:
    found = {**config, **(config.get("text_config") or {})}.get("max_position_embeddings")
    return found if isinstance(found, int) else None


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of one safetensors file, in the file's order.

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
    """The files the index names if there is one, else every safetensors file."""
    index = path / INDEX_FILE
    if not index.is_file():
        return weight_files(path)
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _fault(f"must name its shards in weight_map, got {index}")
    files = [path / str(name) for name in sorted(set(weight_map.values()))]
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
    return InputError([Fault("", "model.path", problem)])
