"""A look at the node that this process is on; nothing in it waits without a limit."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import shutil
import threading
import urllib.error
import urllib.request
import uuid
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from droplora_sweep.errors import DropLoRASweepError
from droplora_sweep.evaluation.serving.environment import environment_problem
from droplora_sweep.models.digests import file_digest, model_digests_of
from droplora_sweep.models.resolving import is_on_this_machine
from droplora_sweep.scorers.sandbox import no_sandbox_reason
from droplora_sweep.spec import package_versions
from droplora_sweep.storage.object_store import ObjectStore, is_url

from .facts import NodeFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from .facts import Asked

T = TypeVar("T")

PACKAGE: Final = Path(__file__).parents[1]
FURTHER_PACKAGES: Final = ("ray", "mlflow", "optuna")
"""Packages that take part in a run, beside those that take part in a result."""
STEP_LIMIT_S: Final = 30.0
"""A file system, a store or a server that does not answer within it is taken as away."""
SANDBOX_LIMIT_S: Final = 60.0
DIGESTS_LIMIT_S: Final = 120.0
HUB_LIMIT_S: Final = 8.0
MAX_DATA_FILES: Final = 2000
"""Of a folder with more files the first by name are compared."""
HUB: Final = "https://huggingface.co"
SHARED_MEMORY: Final = Path("/dev/shm")
NVIDIA: Final = Path("/proc/driver/nvidia")
_DRIVER: Final = re.compile(r"Kernel Module\D*(\d[\d.]*)")


class LateError(Exception):
    """A step did not end within its limit."""


def look(asked: Asked, place: str) -> NodeFacts:
    """Return the facts of this node.

    Args:
        asked: What to look at.
        place: The node, for people.
    """
    storage_problem, sees = _storage(asked)
    quick = NodeFacts(
        place=place,
        versions=versions(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        storage_problem=storage_problem,
        sees_storage=sees,
    )
    if asked.is_quick:
        return quick
    digests, missing = _files(asked)
    shared = shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else 0
    vllm_problem = environment_problem() if asked.needs_vllm else None
    has_hub_model = asked.hub_model is not None and is_on_this_machine(asked.hub_model)
    return NodeFacts(
        place=quick.place,
        versions=quick.versions,
        open_files=quick.open_files,
        storage_problem=storage_problem,
        sees_storage=sees,
        num_gpus=len(list((NVIDIA / "gpus").iterdir())) if (NVIDIA / "gpus").is_dir() else 0,
        gpu_driver=_gpu_driver(),
        free_bytes=_free_bytes(asked),
        shared_memory_bytes=shared,
        sandbox_problem=_attempt(no_sandbox_reason, SANDBOX_LIMIT_S),
        vllm_problem=vllm_problem,
        digests=digests,
        missing=missing,
        hub_problem=_attempt(hub_problem, STEP_LIMIT_S) if asked.asks_hub else None,
        has_hub_model=has_hub_model,
        is_set={name: bool(os.environ.get(name)) for name in asked.variables},
    )


def versions() -> dict[str, str]:
    """Return the versions of Python, of packages and of this package's own code.

    A job that brings its code in a working folder may have another than a node's installed one.
    """
    found = {"Python": platform.python_version(), **package_versions()}
    for name in FURTHER_PACKAGES:
        if next(iter(metadata.distributions(name=name)), None) is not None:
            found[name] = metadata.version(name)
    code = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        code.update(f"{file.relative_to(PACKAGE)}\0".encode() + file.read_bytes())
    return {**found, "code": code.hexdigest()[:8]}


def within(limit_s: float, act: Callable[[], T]) -> T:
    """Return what a function returns; a thread that hangs is left behind.

    Raises:
        LateError: It did not end in time.
    """
    outcome: list[T | Exception] = []

    def run() -> None:
        try:
            outcome.append(act())
        except Exception as error:  # noqa: BLE001 - it is raised again below
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        raise LateError(f"no answer within {limit_s:g} s")
    [got] = outcome
    if isinstance(got, Exception):
        raise got
    return got


def _attempt(act: Callable[[], str | None], limit_s: float) -> str | None:
    """Return a problem that a function finds, or that it is late."""
    try:
        return within(limit_s, act)
    except LateError as error:
        return str(error)


def write_marker(storage: str, marker: str) -> str | None:
    """Write a file for nodes to find; the reason where that fails."""

    def write() -> None:
        if is_url(storage):
            ObjectStore(storage).put(marker, marker.encode())
        else:
            Path(storage).mkdir(parents=True, exist_ok=True, mode=0o700)
            (Path(storage) / marker).write_text(marker)

    return _problem_of(write)


def remove_marker(storage: str, marker: str, *, with_folder: bool) -> None:
    """Remove what `write_marker` wrote.

    Args:
        storage: Folder or URL.
        marker: Its name there.
        with_folder: True to remove a folder too where nothing else is in it.
    """

    def remove() -> None:
        if is_url(storage):
            ObjectStore(storage).delete(marker)
            return
        (Path(storage) / marker).unlink(missing_ok=True)
        if with_folder and Path(storage).is_dir() and not any(Path(storage).iterdir()):
            Path(storage).rmdir()

    _problem_of(remove)


def _storage(asked: Asked) -> tuple[str | None, bool]:
    """Return why the storage cannot be used here, and True where the driver's marker is in it."""
    storage, marker = asked.storage, asked.marker
    if storage is None or marker is None:
        return None, True

    def see() -> bool:
        if is_url(storage):
            return ObjectStore(storage).exists(marker)
        return (Path(storage) / marker).is_file()

    def write() -> None:
        name = f"{marker}-{uuid.uuid4().hex[:8]}"
        if is_url(storage):
            ObjectStore(storage).put(name, b"")
            ObjectStore(storage).delete(name)
        else:
            (Path(storage) / name).write_bytes(b"")
            (Path(storage) / name).unlink()

    try:
        sees = within(STEP_LIMIT_S, see)
    except (DropLoRASweepError, OSError, LateError) as error:
        return str(error), False
    return (_problem_of(write) if sees else None), sees


def _problem_of(act: Callable[[], None]) -> str | None:
    try:
        within(STEP_LIMIT_S, act)
    except OSError as error:
        return error.strerror or str(error)
    except (DropLoRASweepError, LateError) as error:
        return str(error)
    return None


def _files(asked: Asked) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return digests by field, and the reasons where files are not here."""
    digests: dict[str, dict[str, str]] = {}
    missing: dict[str, str] = {}
    looks: dict[str, Callable[[], dict[str, str]]] = {}
    if (model := asked.model) is not None:
        looks["model.path"] = lambda: model_digests_of(model)
    for field, path in asked.data.items():
        looks[field] = partial(data_digests, Path(path))
    for field, act in looks.items():
        try:
            digests[field] = within(DIGESTS_LIMIT_S, act)
        except (DropLoRASweepError, OSError, LateError) as error:
            missing[field] = str(error)
    return digests, missing


def data_digests(path: Path) -> dict[str, str]:
    """Return the digest of a file, or of each file of a folder, by its name below it.

    Raises:
        OSError: It is not there.
    """
    if path.is_file():
        return {path.name: file_digest(path)}
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not there")
    files = sorted(file for file in path.rglob("*") if file.is_file())[:MAX_DATA_FILES]
    return {file.relative_to(path).as_posix(): file_digest(file) for file in files}


def _free_bytes(asked: Asked) -> dict[str, int]:
    """Return the free space of the disks of temporary files and of a storage folder."""
    # Ray's sessions, logs and objects that do not fit in memory are there.
    folders = [Path(os.environ.get("RAY_TMPDIR") or "/tmp")]
    if asked.storage is not None and not is_url(asked.storage):
        folders.append(Path(asked.storage))
    found = {}
    for folder in filter(Path.is_dir, folders):
        found[str(folder)] = shutil.disk_usage(folder).free
    return found


def _gpu_driver() -> str | None:
    try:
        match = _DRIVER.search((NVIDIA / "version").read_text())
    except OSError:
        return None
    return match[1] if match else "unknown"


def hub_problem() -> str | None:
    """Return why the Hub does not answer; None where it does, or is not to be asked."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None
    url = os.environ.get("HF_ENDPOINT") or HUB
    try:
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=HUB_LIMIT_S).close()
    except urllib.error.HTTPError:
        # Whatever it thinks of the request, it is there.
        return None
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None
