"""Adapters on disk: published whole, with the sha256 of every file."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

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


def publish_adapter(directory: Path, files: Mapping[str, bytes]) -> str:
    """Write an adapter so that the folder holds all of it or is absent.

    The files and a manifest are written and synced in a temporary folder beside, which is then
    renamed. An adapter that is already there, of an attempt that did not live to record it, is
    replaced; so are temporary folders of such attempts.

    Args:
        directory: The adapter's folder.
        files: Content by name; a name may have folders in it.

    Returns:
        sha256 of the manifest, which pins every file.
    """
    assert files, "an adapter has files"
    assert MANIFEST not in files, f"{MANIFEST} is written here"
    for leftover in temporaries_beside(directory):
        shutil.rmtree(leftover)
    make_private_directory(directory.parent)
    temporary = temporary_beside(directory)
    manifest = _manifest(files)
    try:
        temporary.mkdir(mode=0o700)
        for name, content in {**files, MANIFEST: manifest}.items():
            _write_contained(temporary, name, content)
        for folder in (*filter(Path.is_dir, temporary.rglob("*")), temporary):
            sync_directory(folder)
    except OSError:
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


def verify_adapter(directory: Path, digest: str | None = None) -> None:
    """Check an adapter against its manifest, and the manifest against the ledger's digest.

    Args:
        directory: The adapter's folder.
        digest: ``TrialRecord.adapter_digest``; None checks the files alone.

    Raises:
        SweepError: Naming every file that is missing, changed or unexpected.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise SweepError(f"{path}: must exist in a published adapter")
    manifest = path.read_bytes()
    found_digest = hashlib.sha256(manifest).hexdigest()
    if digest is not None and found_digest != digest:
        raise SweepError(f"{path}: sha256 must be {digest}, got {found_digest}")
    expected = json.loads(manifest)["files"]
    found = {
        file.relative_to(directory).as_posix(): file
        for file in directory.rglob("*")
        if file.is_file() and file != path
    }
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    problems = [f"{directory / name}: is missing" for name in sorted(missing)]
    problems += [f"{found[name]}: is not in {MANIFEST}" for name in sorted(extra)]
    for name in sorted(expected.keys() & found.keys()):
        sha256 = hashlib.sha256(found[name].read_bytes()).hexdigest()
        if sha256 != expected[name]["sha256"]:
            problems.append(
                f"{found[name]}: sha256 must be {expected[name]['sha256']}, got {sha256}"
            )
    if problems:
        raise SweepError("\n".join(problems))


def _manifest(files: Mapping[str, bytes]) -> bytes:
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for name, content in sorted(files.items())
    }
    return json.dumps({"files": entries}, indent=1).encode() + b"\n"


def _write_contained(root: Path, name: str, content: bytes) -> None:
    relative = PurePosixPath(name)
    assert not relative.is_absolute(), f"must be inside the adapter's folder: {name}"
    assert ".." not in relative.parts, f"must be inside the adapter's folder: {name}"
    path = root / relative
    make_private_directory(path.parent)
    write_file(path, content)
