"""Digests of a model's files, to tell quickly whether two nodes have the same model."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from .resolving import resolve_model

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.spec.trial import ModelSpec

    from .hub import OnArrival

WHOLE_BYTES: Final = 32 << 20
"""A file up to this size is read whole."""
NUM_SAMPLES: Final = 64
"""Of a larger file as many blocks are read, at even distances, the first and the last included."""
SAMPLE_BYTES: Final = 128 << 10
SUFFIXES: Final = (".json", ".safetensors", ".model", ".txt", ".jinja", ".py")
"""Files that loading may read."""


def model_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each of a model's files, by name.

    Of weights a sample is taken, since all of them take minutes to read: training changes every
    tensor of a model, and a copy that was cut off has another size. Single bytes that differ are
    not found.

    Args:
        folder: The model's, as `resolve_model` gives it.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    return {file.name: file_digest(file) for file in files if file.is_file()}


def model_digests_of(spec: ModelSpec, on_arrival: OnArrival | None = None) -> dict[str, str]:
    """Return the digests of the model that a trial has, as this machine has it.

    Args:
        spec: The model.
        on_arrival: Called while a download arrives (see `HubModel.fetch`).

    Raises:
        InputError: It is not here, and cannot be downloaded.
    """
    return model_digests(resolve_model(spec, on_arrival))


def file_digest(file: Path) -> str:
    """Return the sha256, in hex, of a file's size and of its content or a sample of that."""
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as content:
        if size <= WHOLE_BYTES:
            digest.update(content.read())
        else:
            for number in range(NUM_SAMPLES):
                content.seek((size - SAMPLE_BYTES) * number // (NUM_SAMPLES - 1))
                digest.update(content.read(SAMPLE_BYTES))
    return digest.hexdigest()
