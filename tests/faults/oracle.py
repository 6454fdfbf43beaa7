"""Conditions that hold after every case of the faults suite, however a sweep ended.

Finished = planned minus explicitly failed; no fingerprint completed twice; each finished trial has
exactly one run in MLflow, in the final state that its own maps to, an adapter whose manifest
verifies and which loads, and no checkpoint any more; nothing is left RUNNING in ledger or MLflow;
no process of ours is left, and no placement group.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.records.layout import CHECKPOINTS, trial_directory
from droplora_sweep.records.trial import TrialRecord, TrialState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "DROPLORA_FAULTS_CASE"
"""Environment variable of a case's processes: whatever they start inherits it."""

PROCESSES_GONE_S = 120.0

STATUS = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.STOPPED: "KILLED",
    TrialState.FAILED: "FAILED",
}


def problems(storage: Path, name: str, num_planned: int, mark: str | None = None) -> list[str]:
    """Everything that does not hold; an empty list where nothing was lost or done twice.

    Args:
        storage: The storage folder, with its MLflow store.
        name: The sweep.
        num_planned: Trials it was to run.
        mark: Value of ``MARK`` in the case's processes; None skips the look for leftovers.
    """
    ledger = Ledger.open(storage, name)
    trials = ledger.records()
    return [
        *_counted(ledger, num_planned),
        *(problem for trial in trials for problem in _adapter(trial)),
        *_checkpoints(ledger),
        *_runs(storage, ledger),
        *(_leftovers(mark) if mark is not None else ()),
    ]


def leaked_placement_groups() -> list[str]:
    """Placement groups of the connected cluster that still hold or wait for resources."""
    from ray.util import placement_group_table

    table: dict[str, Any] = placement_group_table()
    return [name for name, group in table.items() if group["state"] != "REMOVED"]


def _counted(ledger: Ledger, num_planned: int) -> Iterator[str]:
    trials = ledger.records()
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    finished = [trial for trial in trials if trial.is_finished and trial not in failed]
    if len(finished) != num_planned - len(failed):
        yield f"{len(finished)} finished and {len(failed)} failed of {num_planned} planned"
    yield from (f"{trial.trial_id} failed without a reason" for trial in failed if not trial.reason)
    yield from (f"{trial.trial_id} is RUNNING" for trial in trials if not trial.is_finished)
    counts = Counter(trial.fingerprint for trial in finished)
    yield from (f"fingerprint {each} completed twice" for each in counts if counts[each] > 1)
    if ledger.holder is not None:
        yield f"the lease belongs to {ledger.holder}"
    if ledger.torn is not None:
        yield f"torn: {ledger.torn}"


def _adapter(trial: TrialRecord) -> Iterator[str]:
    if trial.state not in (TrialState.COMPLETE, TrialState.STOPPED):
        return
    if trial.adapter is None:
        yield f"{trial.trial_id} has no adapter"
        return
    try:
        verify_adapter(trial.adapter, trial.adapter_digest)
    except SweepError as error:
        yield str(error)
        return
    yield from _loads(trial.trial_id, trial.adapter)


def _loads(trial_id: str, adapter: Path) -> Iterator[str]:
    """Load as anybody would: plain PEFT over the base model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from droplora_sweep.models.resolving import BUILTIN_FOLDER

    base = AutoModelForCausalLM.from_pretrained(BUILTIN_FOLDER)
    loaded = PeftModel.from_pretrained(base, str(adapter))
    updates = [value for key, value in loaded.state_dict().items() if "lora_B" in key]
    if not any(value.abs().sum() > 0 for value in updates):
        yield f"{trial_id} has an adapter that changes nothing"


def _checkpoints(ledger: Ledger) -> Iterator[str]:
    for trial in ledger.records():
        folder = trial_directory(ledger.directory, trial.trial_id) / CHECKPOINTS
        if trial.is_finished and folder.exists():
            yield f"{trial.trial_id} has {len(list(folder.iterdir()))} checkpoints left"


def _runs(storage: Path, ledger: Ledger) -> Iterator[str]:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri(storage))
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = [
        run
        for run in client.search_runs(experiments, max_results=5000)
        if run.data.tags.get("sweep_id") == ledger.record.sweep_id
    ]
    parents = [run for run in runs if "trial_id" not in run.data.tags]
    if [run.info.status for run in parents] != ["FINISHED"]:
        yield f"the sweep's runs in MLflow are {[run.info.status for run in parents]}"
    for trial in ledger.records():
        own = [run.info.status for run in runs if run.data.tags.get("trial_id") == trial.trial_id]
        if own != [STATUS.get(trial.state)]:
            yield f"{trial.trial_id}, {trial.state.lower()}, has runs in MLflow that are {own}"
    known = {trial.trial_id for trial in ledger.records()}
    children = {run.data.tags["trial_id"] for run in runs if "trial_id" in run.data.tags}
    yield from (f"MLflow has a run of {name}, which is no trial" for name in children - known)


def _leftovers(mark: str) -> Iterator[str]:
    deadline = time.monotonic() + PROCESSES_GONE_S
    while (left := list(_marked(mark))) and time.monotonic() < deadline:
        time.sleep(1)
    yield from (f"process {each} is left" for each in left)


def _marked(mark: str) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            if not is_zombie and process.environ().get(MARK) == mark:
                yield f"{process.pid} {' '.join(process.cmdline())[:80]}"
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
