"""Names of the files and folders of a sweep in its storage folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.spec import RESERVED_NAMES

from .trial import TRIAL_ID

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = "events.jsonl"
EVENT_OBJECTS = "events"
"""Prefix of a URL's storage: every event is an object of its own there."""
SPEC = "sweep.yaml"
STUDY = "study.db"
LEASE = "driver.lease"
STOP_REQUEST = "stop.request"
REQUESTS = "requests"
DRIVER_LOG = "driver.log"
PROGRESS = "progress.json"
SUMMARY = "summary"
SUMMARY_TEXT = "README.md"
REPORT_PAGE = "report.html"
REPORT_DATA = "report.json"
TRIALS = "trials"
ADAPTER = "adapter"
MODEL_CARD = "README.md"
"""In the adapter's folder, and in that of an exported model."""
CHECKPOINTS = "checkpoints"
SNAPSHOTS = "snapshots"
"""Weights and optimiser of a population's member, as they were at each evaluation."""
RESULTS = "results.parquet"
TEST_RESULTS = "test_results.parquet"
TRIAL = "trial.json"
FAILURE_LOG = "failure.log"
REFERENCES = "references"
INCOMING = ".incoming"
"""Files that trials leave, on their way to where they are published."""
CANARY = "canary"
"""In `INCOMING`: the checkpoint of a trial that is tried in little, until it was read back."""


def sweep_directory(storage: Path, name: str) -> Path:
    """Return the folder of one sweep.

    Raises:
        SweepError: The name is that of something else in the storage folder.
    """
    if name in RESERVED_NAMES:
        raise SweepError(f"name: must not be one of {', '.join(RESERVED_NAMES)}, got {name}")
    root = storage.resolve()
    directory = root / name
    assert directory.parent == root, f"the spec lets no path into a name, got {name}"
    return directory


def reference_results(sweep_directory: Path, split: str) -> Path:
    """Return the file of the untrained model's per-example results on one split."""
    return sweep_directory / REFERENCES / f"{split}.parquet"


def trial_directory(sweep_directory: Path, trial_id: str) -> Path:
    """Return the folder of one trial's files."""
    assert TRIAL_ID.fullmatch(trial_id), f"not a trial id: {trial_id}"
    return sweep_directory / TRIALS / trial_id
