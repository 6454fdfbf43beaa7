"""Files that trials leave, as content by file name, for tests that compare and change them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.adapters.adapted import Adapted
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.training.runner import TrialRunner


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def saved_files(adapted: Adapted, trial: TrialSpec) -> dict[str, bytes]:
    """Files of an adapted model as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        adapted.save(Path(folder), trial)
        return read_files(Path(folder))


def trained_files(
    runner: TrialRunner,
    spec: TrialSpec,
    decide: Any,
    *,
    start: Mapping[str, bytes] | None = None,
    **options: Any,
) -> dict[str, bytes]:
    """Files that a trial leaves on a runner; {} but on rank 0.

    Args:
        runner: The runner.
        spec: The trial.
        decide: As in `TrialRunner.run`.
        start: Files of the adapter to start from.
        options: Others of `TrialRunner.run`.
    """
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder, "into")
        into.mkdir()
        if start is not None:
            options["start"] = write_files(Path(folder, "start"), start)
        runner.run(spec, decide, into=into, **options)
        return read_files(into)


def scores_of(
    runner: TrialRunner,
    spec: TrialSpec,
    split: Any,
    files: Mapping[str, bytes] | None,
    **options: Any,
) -> list[ExampleResult]:
    """Score what a trial has left, on a runner; the base model for None."""
    if files is None:
        return runner.score(spec, split, **options).results
    with tempfile.TemporaryDirectory() as folder:
        return runner.score(spec, split, saved=write_files(Path(folder), files), **options).results
