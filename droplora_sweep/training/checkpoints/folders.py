"""Where a trial's checkpoints lie, which of them are whole, and which may go; no torch."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINTS = "checkpoints"
_NAME = re.compile(r"step-(\d{8,})")


def checkpoints_folder(trial_folder: Path) -> Path:
    """The folder of a trial's checkpoints."""
    return trial_folder / CHECKPOINTS


def step_folder(folder: Path, step: int) -> Path:
    """The checkpoint after so many optimiser steps."""
    return folder / f"step-{step:08d}"


def newest_first(folder: Path) -> list[Path]:
    """Every checkpoint in the folder, damaged ones too."""
    if not folder.is_dir():
        return []
    steps = {path: _NAME.fullmatch(path.name) for path in folder.iterdir()}
    numbers = {path: int(match[1]) for path, match in steps.items() if match}
    return sorted(numbers, key=numbers.__getitem__, reverse=True)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, and what writers that died have left."""
    for path in (*newest_first(folder)[keep:], *folder.glob(".step-*")):
        shutil.rmtree(path)


def discard_checkpoints(trial_folder: Path) -> None:
    """Remove a trial's checkpoints; to be done once its end is recorded."""
    folder = checkpoints_folder(trial_folder)
    if folder.is_dir():
        shutil.rmtree(folder)
