"""Completions for a shell: names of sweeps, ids of trials, shipped search spaces, kinds of GPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer  # noqa: TC002 - typer reads the annotations when it runs

from droplora_sweep.authoring.shipped import shipped_spaces
from droplora_sweep.plan.costs.work import GPUS
from droplora_sweep.records.layout import EVENTS, TRIALS

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "results"


def sweep_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the sweeps of the storage folder, of a URL those that are mirrored here."""
    found = (file.parent.name for file in _storage(context).glob(f"*/{EVENTS}"))
    return _beginning_with(incomplete, found)


def trial_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Return the trials of the sweep that is named before."""
    folder = _storage(context) / str(context.params.get("name") or "") / TRIALS
    found = (path.name for path in folder.glob("*") if path.is_dir())
    return _beginning_with(incomplete, found)


def space_names(incomplete: str) -> list[str]:
    """Return the search spaces that come with the package."""
    return _beginning_with(incomplete, (space.name for space in shipped_spaces()))


def gpu_names(incomplete: str) -> list[str]:
    """Return the kinds of GPU whose sizes are known."""
    return _beginning_with(incomplete, GPUS)


def _storage(context: typer.Context) -> Path:
    return Path(context.params.get("storage") or DEFAULT)


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
