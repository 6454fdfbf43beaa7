"""Folder that a job takes along: the sweep's file, this package, and data or models on request."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep import private_api
from droplora_sweep.errors import Fault, InputError
from droplora_sweep.files import disk_faults_named
from droplora_sweep.plan.absolute_paths import local_paths
from droplora_sweep.spec.locations import is_url
from droplora_sweep.storage.job_inputs import FOLDER, MANIFEST, MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from droplora_sweep.plan.absolute_paths import LocalPath
    from droplora_sweep.spec import SweepFile, SweepSpec

PACKAGE = Path(__file__).parents[1]
LEFT_OUT = (
    *("__pycache__", "*.pyc", ".git", ".venv", "venv", ".env", ".env.*", ".netrc", ".ssh", ".aws"),
    *("*.pem", "*.key", "id_rsa*", "id_ed25519*", "auth_token", "credentials"),
)
"""Names that never travel: caches, version control, virtual environments and usual secrets."""
NUM_NAMED = 3
"""Largest parts that are named where all are too large."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file or folder that the job takes along.

    Attributes:
        local: Where it is named.
        name: Its name in the job.
        size_bytes: Size of all its files.
    """

    local: LocalPath
    name: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Content of a job, and what it expects to find.

    Attributes:
        file: Name of the sweep's file in the job's folder.
        inputs: What goes along.
        expected: Absolute paths that must be on the cluster's nodes.
        size_bytes: Size of everything.
    """

    file: str
    inputs: tuple[Input, ...]
    expected: tuple[LocalPath, ...]
    size_bytes: int


def pack(file: SweepFile, name: str, folder: Path, *, takes_inputs: bool) -> Packed:
    """Write what a job takes along.

    Args:
        file: The valid file, whose local paths are this machine's.
        name: Name of the file.
        folder: An empty folder.
        takes_inputs: Takes along what the sweep names by a relative path; an absolute one is that
            of the cluster's nodes in any case.

    Raises:
        InputError: A path is relative and does not go along, is missing, or all of it is too much.
        SweepError: The folder cannot be written.
    """
    found = list(local_paths(file.sweep))
    faults = list(_unusable(found, takes_inputs=takes_inputs))
    if faults:
        raise file.locate(InputError(faults))
    taken = [one for one in found if not one.path.is_absolute()]
    inputs = tuple(
        Input(local=one, name=f"{number}-{one.path.name}", size_bytes=_size(one.path))
        for number, one in enumerate(taken)
    )
    size_bytes = sum(one.size_bytes for one in inputs) + _size(PACKAGE)
    _require_small(inputs, size_bytes)
    with disk_faults_named(folder):
        pack_package(folder)
        (folder / name).write_text(file.text, encoding="utf-8")
        if inputs:
            _write_inputs(folder / FOLDER, inputs, file.sweep)
    return Packed(
        file=name,
        inputs=inputs,
        expected=tuple(one for one in found if one not in taken),
        size_bytes=size_bytes,
    )


def pack_package(folder: Path) -> None:
    """Write this package, so that the job's nodes run what this machine has.

    Raises:
        SweepError: The folder cannot be written.
    """
    with disk_faults_named(folder):
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=_ignored)


def megabytes(num_bytes: int) -> str:
    """Return a size for a message.

    >>> megabytes(123), megabytes(12_345_678)
    ('0.0 MB', '12.3 MB')
    """
    return f"{num_bytes / 1e6:.1f} MB"


def _unusable(found: Iterable[LocalPath], *, takes_inputs: bool) -> Iterator[Fault]:
    for one in found:
        if one.path.is_absolute():
            continue
        if not one.path.exists():
            yield Fault("", one.field, f"must be there to go along with the job, got {one.given}")
        elif not takes_inputs:
            problem = (
                "must be an absolute path that all nodes have, a URL or a Hub id, or go along with "
                f"--ship, got {one.given} ({megabytes(_size(one.path))}), which is this machine's"
            )
            yield Fault("", one.field, problem)


def _require_small(inputs: tuple[Input, ...], size_bytes: int) -> None:
    limit = private_api.upload_limit()
    if size_bytes < limit:
        return
    largest = sorted(inputs, key=lambda one: -one.size_bytes)[:NUM_NAMED]
    named = ", ".join(f"{one.local.field} {megabytes(one.size_bytes)}" for one in largest)
    problem = (
        f"must be less than {megabytes(limit)} in all, which Ray takes with a job, got "
        f"{megabytes(size_bytes)} ({named}); put what is large where all nodes see it, in an "
        "object store or on the Hub, and name it there"
    )
    raise InputError.of("--ship", problem)


def _fields(inputs: tuple[Input, ...], sweep: SweepSpec) -> dict[str, str | list[str]]:
    """Return the values that name what goes along, by field; a command is given as a whole."""
    fields: dict[str, str | list[str]] = {}
    for one in inputs:
        field, value = one.local.field, f"{MARK}{one.name}{one.local.rest}"
        command, index, _ = field.partition("[")
        if not index:
            fields[field] = value
            continue
        benchmark = command.removeprefix("task.benchmarks.").removesuffix(".command")
        words = fields.setdefault(command, list(sweep.task.benchmark_specs[benchmark].command))
        assert isinstance(words, list), "a command is a list"
        words[int(field[len(command) + 1 : -1])] = value
    return fields


def _write_inputs(folder: Path, inputs: tuple[Input, ...], sweep: SweepSpec) -> None:
    scratch = folder / "copied"
    scratch.mkdir(parents=True)
    for one in inputs:
        source, target = one.local.path, scratch / one.name
        if source.is_dir():
            shutil.copytree(source, target, ignore=_ignored)
        else:
            shutil.copyfile(source, target)
    digest = _digest(scratch)
    scratch.rename(folder / digest)
    manifest = {"digest": digest, "fields": _fields(inputs, sweep)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _digest(folder: Path) -> str:
    """Return a digest of all names and contents."""
    total = hashlib.sha256()
    for path in _files(folder):
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{digest}\n".encode())
    return total.hexdigest()[:32]


_ignored = shutil.ignore_patterns(*LEFT_OUT)


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        for left_out in _ignored(parent, folders):
            folders.remove(left_out)
        kept = set(names) - _ignored(parent, names)
        found += [Path(parent) / name for name in kept]
    return sorted(found)


def _size(path: Path) -> int:
    files = _files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def require_lasting(storage: str) -> None:
    """Refuse a storage that would be lost with the job.

    Raises:
        InputError: It is a relative path.
    """
    if is_url(storage) or Path(storage).is_absolute():
        return
    problem = (
        "must be an absolute path of the head node, on a disk that outlives it, or a URL, got "
        f"{storage}, which would be in the job's temporary folder; e.g. "
        "--storage /home/ray/results, or --storage s3://bucket/sweeps"
    )
    raise InputError.of("storage", problem)
