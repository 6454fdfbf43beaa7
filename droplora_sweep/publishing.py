"""Folders that are published whole: written beside, synced, and renamed; sha256 of every file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from .errors import SweepError
from .files import (
    make_private_directory,
    sync_directory,
    temporaries_beside,
    temporary_beside,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Received:
    """A file that has been received, to be moved to where it is published.

    Attributes:
        path: The file.
        sha256: Its digest, as its sender gave it.
    """

    path: Path
    sha256: str


Content: TypeAlias = bytes | Callable[[Path], None] | Received
"""Content of a file, or what writes it to a path, or a file to be moved there."""


def publish_folder(directory: Path, files: Mapping[str, Content]) -> str:
    """Write files so that the folder holds all of them or is absent.

    The files and a manifest are written and synced in a temporary folder beside, which is then
    renamed. A folder that is already there, of an attempt that did not live to record it, is
    replaced; so are temporary folders of such attempts.

    Args:
        directory: The folder.
        files: Content by name; a name may have folders in it.

    Returns:
        sha256 of the manifest, which pins every file.

    Raises:
        SweepError: A received file is not what was sent; nothing is published then.
    """
    assert MANIFEST not in files, f"{MANIFEST} is written here"
    for leftover in temporaries_beside(directory):
        shutil.rmtree(leftover)
    make_private_directory(directory.parent)
    temporary = temporary_beside(directory)
    try:
        temporary.mkdir(mode=0o700)
        write_files(temporary, files)
        manifest = _manifest(temporary, files)
        write_file(temporary / MANIFEST, manifest)
        for folder in (*filter(Path.is_dir, temporary.rglob("*")), temporary):
            sync_directory(folder)
    except (OSError, SweepError):
        # Space that is short is given back.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if directory.exists():
        replaced = temporary_beside(directory)
        directory.rename(replaced)
        temporary.rename(directory)
        shutil.rmtree(replaced)
    else:
        temporary.rename(directory)
    sync_directory(directory.parent)
    return hashlib.sha256(manifest).hexdigest()


def verify_folder(directory: Path, digest: str | None = None) -> None:
    """Check a folder against its manifest, and the manifest against a known digest.

    Args:
        directory: A published folder.
        digest: Digest that `publish_folder` returned; None checks the files alone.

    Raises:
        SweepError: Naming every file that is missing, changed or unexpected.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise SweepError(f"{path}: must exist in a published folder")
    manifest = path.read_bytes()
    found_digest = hashlib.sha256(manifest).hexdigest()
    if digest is not None and found_digest != digest:
        raise SweepError(f"{path}: sha256 must be {digest}, got {found_digest}")
    expected = _expected(path, manifest)
    found = {
        file.relative_to(directory).as_posix(): file
        for file in directory.rglob("*")
        if file.is_file() and file != path
    }
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    problems = [f"{directory / name}: is missing" for name in sorted(missing)]
    problems += [f"{found[name]}: is not in {MANIFEST}" for name in sorted(extra)]
    for name in sorted(expected.keys() & found.keys()):
        sha256 = sha256_of(found[name])
        if sha256 != expected[name]:
            problems.append(f"{found[name]}: sha256 must be {expected[name]}, got {sha256}")
    if problems:
        raise SweepError("\n".join(problems))


def _expected(path: Path, manifest: bytes) -> dict[str, str]:
    """sha256 by file name."""
    try:
        return {name: str(entry["sha256"]) for name, entry in json.loads(manifest)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SweepError(f"{path}: must list files with their sha256, but is damaged") from error


def _manifest(folder: Path, files: Mapping[str, Content]) -> bytes:
    entries = {}
    for name, content in sorted(files.items(), key=lambda item: item[0]):
        digest = sha256_of(folder / name)
        if isinstance(content, Received) and digest != content.sha256:
            raise SweepError(f"{content.path}: sha256 must be {content.sha256}, got {digest}")
        entries[name] = {"sha256": digest, "size_bytes": (folder / name).stat().st_size}
    return json.dumps({"files": entries}, indent=1).encode() + b"\n"


def sha256_of(path: Path) -> str:
    """Return the digest of a file, which is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_files(folder: Path, files: Mapping[str, Content]) -> None:
    """Write files into a folder that exists (mode 0600), each durable when this returns."""
    for name, content in files.items():
        _write_contained(folder, name, content)


def _write_contained(root: Path, name: str, content: Content) -> None:
    relative = PurePosixPath(name)
    assert not relative.is_absolute(), f"must be inside the published folder: {name}"
    assert ".." not in relative.parts, f"must be inside the published folder: {name}"
    path = root / relative
    make_private_directory(path.parent)
    if isinstance(content, bytes):
        write_file(path, content)
        return
    if isinstance(content, Received):
        # A rename, but where someone has made a trial's folder a link to another file system.
        shutil.move(content.path, path)
    else:
        content(path)
    path.chmod(0o600)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
