"""Find the local folder that ``model.path`` means, or say in one line why there is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError
from droplora_sweep.spec.locations import is_hub_id, local_folder
from droplora_sweep.spec.trial import BUILTIN

from .folders import require_description, require_model
from .hub import HubModel

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import ModelSpec

    from .hub import OnArrival

BUILTIN_FOLDER = Path(__file__).parent / "builtin"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_model(spec: ModelSpec, on_arrival: OnArrival | None = None) -> Path:
    """Find the model, downloading a Hub model's pinned revision if it is not here yet.

    Args:
        spec: The model.
        on_arrival: Called while a download arrives (see `HubModel.fetch`).

    Returns:
        Folder with config.json, safetensors weights and a tokenizer.

    Raises:
        OutOfReachError: The Hub cannot be reached, or asks for a login.
        InputError: The folder or Hub model is missing, unpinned or incomplete, or its weights are
            pickles.
    """
    place = _place(spec)
    return require_model(place if isinstance(place, Path) else place.fetch(on_arrival))


def resolve_description(spec: ModelSpec) -> Path:
    """Find the model's configuration and tokenizer; a Hub model's weights are not downloaded.

    Returns:
        Folder with config.json and a tokenizer.

    Raises:
        OutOfReachError: The Hub cannot be reached, or asks for a login.
        InputError: The folder or Hub model is missing, unpinned or incomplete.
    """
    place = _place(spec)
    return require_description(place if isinstance(place, Path) else place.fetch_description())


def hub_model(spec: ModelSpec) -> HubModel | None:
    """Return the Hub model that the spec names; None for the built-in model and for a folder.

    Raises:
        InputError: It is neither of them, or a Hub model without its commit.
    """
    place = _place(spec)
    return None if isinstance(place, Path) else place


def is_on_this_machine(spec: ModelSpec) -> bool:
    """Return True for the built-in model, a folder, and a Hub model that was downloaded before.

    One without its commit is not: what is wrong with it is said where it is to be read.
    """
    if spec.path == BUILTIN or not is_hub_id(spec.path):
        return True
    try:
        place = _place(spec)
    except InputError:
        return False
    return isinstance(place, Path) or place.here() is not None


def _place(spec: ModelSpec) -> Path | HubModel:
    if spec.path == BUILTIN:
        return BUILTIN_FOLDER
    folder = local_folder(spec.path)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise _fault("path", f"must be a folder, got the file {spec.path}")
    if not is_hub_id(spec.path):
        raise _fault("path", f"must be builtin, a folder or a Hub id, got {spec.path}")
    if spec.revision is None:
        problem = f"no such folder; a Hub id also needs model.revision, got {spec.path}"
        raise _fault("path", problem)
    if not _COMMIT.fullmatch(spec.revision):
        problem = f"must be a commit of 40 hex digits, got {spec.revision}"
        raise _fault("revision", problem)
    return HubModel(hub_id=spec.path, revision=spec.revision, with_code=spec.trust_remote_code)


def _fault(field: str, problem: str) -> InputError:
    return InputError.of(f"model.{field}", problem)
