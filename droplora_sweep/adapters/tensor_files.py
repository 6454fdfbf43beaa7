"""Tensors in safetensors files, written without a second copy of them in memory.

Copies that are needed on the way lie in memory that a temporary file backs: the kernel writes them
out where memory is short, and they are no part of what the process holds.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
from math import prod
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import nn

logger = logging.getLogger(__name__)

SMALL_BYTES = 32 << 20
"""Less than this lies in ordinary memory: a file would only cost time."""
_ALIGNMENT_BYTES = 64


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors of the CPU, which may share no memory, to a safetensors file.

    Raises:
        OSError: The file system refuses.
    """
    with tensor_faults_named(path):
        save_file(dict(tensors), path, metadata={"format": "pt"})


@contextlib.contextmanager
def tensor_faults_named(path: Path) -> Iterator[None]:
    """Turn safetensors' error for a write into an OSError, which it hides in its text."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


def cpu_copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return contiguous copies on the CPU, which share no elements, in a `Buffer`."""
    sizes = (tensor.numel() * tensor.element_size() for tensor in tensors.values())
    buffer = Buffer(sum(map(padded, sizes)))
    return {
        name: buffer.take(tensor.shape, tensor.dtype).copy_(tensor.detach())
        for name, tensor in tensors.items()
    }


def state_on_cpu(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a model's state on the CPU: its own memory where it is there, else copies.

    Each tensor has a storage of its own, since transformers copies those that share one, as they do
    in a training engine's buffer. Weights that are tied stay so.
    """
    state = model.state_dict()
    elsewhere = {name: one for name, one in state.items() if one.device.type != "cpu"}
    first: dict[tuple[int, torch.Size], str] = {}
    for name, tensor in elsewhere.items():
        first.setdefault((tensor.data_ptr(), tensor.shape), name)
    copies = cpu_copies({name: state[name] for name in first.values()})
    tied = {name: copies[first[one.data_ptr(), one.shape]] for name, one in elsewhere.items()}
    return apart({name: tied.get(name, tensor) for name, tensor in state.items()})


def apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of the CPU, without a copy, each with a storage of its own."""
    return {name: _alone(tensor) for name, tensor in tensors.items()}


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same memory as a tensor whose storage has nothing else in it."""
    values = tensor.detach().cpu().contiguous()
    content = torch.from_numpy(values.view(-1).view(torch.uint8).numpy())
    return content.view(values.dtype).view(values.shape)


class Buffer:
    """Memory on the CPU for several tensors; a temporary file is behind it where it is large.

    It is ordinary memory where the folder of temporary files has no room.

    Args:
        size_bytes: Sum of `padded` over the tensors.
    """

    def __init__(self, size_bytes: int) -> None:
        self._next = 0
        found = None if size_bytes < SMALL_BYTES else _file_backed(size_bytes)
        self._bytes = torch.empty(size_bytes, dtype=torch.uint8) if found is None else found

    def take(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """Return the next part of it, as a tensor without values."""
        size_bytes = prod(shape) * dtype.itemsize
        part = self._bytes[self._next : self._next + size_bytes]
        self._next += padded(size_bytes)
        return part.view(dtype).view(shape)


def _file_backed(size_bytes: int) -> torch.Tensor | None:
    """Return bytes in a temporary file that has no name any more; None where it has no room."""
    try:
        with tempfile.NamedTemporaryFile(prefix="droplora-tensors-") as file:
            # Else a disk that is full would end the process, once the memory is written to.
            os.posix_fallocate(file.fileno(), 0, size_bytes)
            return torch.from_file(file.name, shared=True, size=size_bytes, dtype=torch.uint8)
    except OSError as error:
        logger.warning("%s: no room for %d bytes: %s", tempfile.gettempdir(), size_bytes, error)
        return None


def padded(size_bytes: int) -> int:
    """Return the bytes that a tensor of this size takes in a `Buffer`."""
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
