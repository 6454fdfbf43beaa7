"""Files that are whole or absent after a crash, and readable by their owner alone."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError, SweepError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def disk_faults_named(directory: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `SweepError` that names the path."""
    try:
        yield
    except OSError as error:
        path = error.filename or directory
        raise SweepError(f"{path}: cannot write: {error.strerror}") from error


def make_private_directory(path: Path) -> None:
    """Create a folder and its missing parents (mode 0700), durably."""
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_directory(folder.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write a file (mode 0600) that is durable when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_new(path: Path, text: str, option: str) -> None:
    """Write a text file that is not there yet, and its missing folders.

    Args:
        path: The file.
        text: Its content.
        option: The option or argument that names it, for messages.

    Raises:
        InputError: There is a file of that name, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError.of(option, f"must be new, got {path}, which exists") from error
    except OSError as error:
        problem = f"must be a file that can be written, got {path}: {error.strerror}"
        raise InputError.of(option, problem) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    temporary = temporary_beside(path)
    try:
        write_file(temporary, content)
        temporary.replace(path)
    except OSError:
        # Space that is short is given back.
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_beside(path: Path) -> Path:
    """An unused name in the same folder, thus on the same file system."""
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:8]}")


def temporaries_beside(path: Path) -> list[Path]:
    """Temporary files of writers of ``path`` that died."""
    return sorted(path.parent.glob(f".{path.name}.tmp-*"))
