"""Writes a trial's files, before the event that tells of them."""

from __future__ import annotations

import hashlib
import json
import math
from statistics import fmean
from typing import TYPE_CHECKING

from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file, write_file
from droplora_sweep.records.layout import ADAPTER, FAILURE_LOG, RESULTS, TEST_RESULTS, TRIAL
from droplora_sweep.redaction import redact

from .adapter_files import publish_adapter
from .failpoints import failpoint
from .model_card import model_card
from .results import read_scores, write_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from droplora_sweep.evaluation import ExampleResult
    from droplora_sweep.records.trial import TrialRecord


def describe_trial(folder: Path, description: Mapping[str, object]) -> None:
    """Make a trial's folder and say in it what the trial is.

    Raises:
        SweepError: If the file system refuses.
    """
    with disk_faults_named(folder):
        make_private_directory(folder)
        replace_file(folder / TRIAL, json.dumps(description, indent=1).encode() + b"\n")
    failpoint("trial-folder-made")


def write_failure_log(folder: Path, log: str) -> None:
    """Keep what a failed trial's processes last wrote, without secrets.

    Raises:
        SweepError: If the file system refuses.
    """
    with disk_faults_named(folder):
        replace_file(folder / FAILURE_LOG, redact(log).encode() + b"\n")


def publish_trial_files(
    folder: Path,
    trial: TrialRecord,
    sweep_name: str,
    metrics: Mapping[str, float],
    adapter_files: Mapping[str, bytes] | None,
    results: Iterable[ExampleResult] | None,
) -> dict[str, str | None]:
    """Publish what a trial left; the digests of its adapter and of its results, by these names.

    Args:
        folder: The trial's.
        trial: The trial, still running.
        sweep_name: Its sweep's, for the model card.
        metrics: What the trial ends with.
        adapter_files: What ``save_pretrained`` writes, by name; the model card is added.
        results: Per-example results of the last evaluation.

    Raises:
        SweepError: If the file system refuses.
    """
    digests: dict[str, str | None] = {"adapter": None, "results": None}
    with disk_faults_named(folder):
        if adapter_files:
            card = model_card(trial, sweep_name, metrics)
            files: dict[str, bytes | Callable[[Path], None]] = dict(adapter_files)
            files["README.md"] = _last_written(card.encode())
            digests["adapter"] = publish_adapter(folder / ADAPTER, files)
            failpoint("adapter-published")
        if results is not None:
            digests["results"] = _write_results(folder / RESULTS, results)
            failpoint("results-written")
    return digests


def publish_test_results(
    folder: Path, results: Iterable[ExampleResult]
) -> tuple[dict[str, float], str]:
    """Publish a winner's results on the test split; its score by benchmark, and their digest.

    Raises:
        SweepError: If the file system refuses.
    """
    path = folder / TEST_RESULTS
    with disk_faults_named(folder):
        digest = _write_results(path, results)
    failpoint("test-results-written")
    return _scores(path), digest


def publish_reference_results(
    path: Path, results: Iterable[ExampleResult]
) -> tuple[dict[str, float], str]:
    """Publish the untrained model's results; its score by benchmark, and their digest.

    Raises:
        SweepError: If the file system refuses.
    """
    with disk_faults_named(path.parent):
        make_private_directory(path.parent)
        digest = _write_results(path, results)
    return _scores(path), digest


def _scores(path: Path) -> dict[str, float]:
    known = {
        name: [score for score in examples.values() if score is not None]
        for name, examples in read_scores(path).items()
    }
    return {name: fmean(some) if some else math.nan for name, some in known.items()}


def _write_results(path: Path, results: Iterable[ExampleResult]) -> str:
    write_results(path, results)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last_written(content: bytes) -> Callable[[Path], None]:
    """Writes an adapter's last file, when all others are there."""

    def write(path: Path) -> None:
        failpoint("adapter-half-written")
        write_file(path, content)

    return write
