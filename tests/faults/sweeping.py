"""A small real sweep as a user runs it, to be hit by faults."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .oracle import MARK

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
NUM_TRIALS = 4
SETTINGS = {
    "search.num_trials": NUM_TRIALS,
    "task.num_train": 48,
    "task.num_validation": 8,
    "evaluation.num_evaluations": 2,
    "training.epochs": 1,
}


def command(storage: Path, *words: str, **settings: object) -> list[str]:
    """``droplora-sweep run`` of the quickstart, or of other words, in this storage."""
    base = [sys.executable, "-m", "droplora_sweep"]
    if words:
        return [*base, *words, "--storage", str(storage)]
    given = {
        **SETTINGS,
        "storage": storage,
        **{k.replace("__", "."): v for k, v in settings.items()},
    }
    overrides = [part for path, value in given.items() for part in ("--set", f"{path}={value}")]
    return [*base, "run", "search_spaces/quickstart.yaml", "--address", "local", *overrides]


def start(
    arguments: list[str], mark: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a driver whose processes are marked; its output is one pipe."""
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", MARK: mark, **(environment or {})},
    )
