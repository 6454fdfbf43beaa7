"""Runs a trial of a ledger again, in a group of its own; nothing of its sweep is changed."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.errors import Fault, InputError, SweepError
from droplora_sweep.evaluation import example_scores
from droplora_sweep.files import disk_faults_named
from droplora_sweep.ledger.adapter_files import plain_files, verify_adapter
from droplora_sweep.ledger.results import read_scores, write_results
from droplora_sweep.publishing import publish_folder
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec import TrialSpec, package_versions
from droplora_sweep.spec.fields import with_fields

from .connection import connect, resolve_address
from .interruption import Interruption
from .reproduction import Run, changed_circumstances, compare, workers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ray.actor import ActorHandle

    from droplora_sweep.groups import Outcome
    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.plan.preflight import Prepared
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.spec import SweepSpec

    from .connection import RayAddress
    from .reproduction import Reproduction

WAIT_S = 1.0
"""The pool is asked this often, and signals and groups are looked at in between."""
REPORT = "rerun.json"


def rerun(
    prepared: Prepared,
    ledger: Ledger,
    trial: TrialRecord,
    *,
    address: str,
    output: Path | None,
    say: Callable[[str], None],
) -> Reproduction:
    """Train a trial again as it was, up to its last evaluation, and compare.

    Args:
        prepared: The trial's sweep, checked: its model and its data are there.
        ledger: Is only read.
        trial: A finished trial.
        address: ``auto``, ``local``, or a Ray cluster's address.
        output: Where the rerun's adapter and results are kept; nowhere where None.
        say: Shows one line.

    Raises:
        InputError: ``output`` exists, the trial has not finished, or it has copied another.
        SweepError: The trial's adapter is damaged, there is no such cluster, the group cannot
            start, or a signal came.
    """
    if output is not None and output.exists():
        raise InputError([Fault("", "--output", f"must be new, got {output}, which exists")])
    if not trial.is_finished:
        raise InputError([Fault("", "TRIAL", f"must have finished, got {trial.trial_id}")])
    if trial.schedule:
        problem = "must have trained by itself, got a member of a population that has copied "
        problem += f"{trial.schedule[0].source}, whose weights then are not kept"
        raise InputError([Fault("", "TRIAL", problem)])
    if not trial.reports and trial.state is not TrialState.FAILED:
        problem = f"must have been evaluated, got {trial.trial_id}"
        raise InputError([Fault("", "TRIAL", problem)])
    before = _as_recorded(trial)
    spec = TrialSpec.model_validate_json(json.dumps(trial.spec))
    workers = workers_of(trial, spec, ledger.record)
    circumstances = changed_circumstances(
        trial, ledger.record, prepared.data_digests(), package_versions()
    )
    if workers is None:
        workers = prepared.sweep.group.num_workers
        circumstances.append(
            "this package: its fingerprint comes out otherwise, so that it has other fields now; "
            f"{workers} workers, as the sweep's last driver had, are taken"
        )
    group = prepared.sweep.group.model_copy(update={"num_workers": workers, "max_groups": 1})
    sweep = prepared.sweep.model_copy(update={"model": spec.model, "group": group})
    start = _start_files(ledger, trial)
    spec = with_fields(spec, trial.adjusted)
    outcome = _train(sweep, trial, spec, start, resolve_address(address), say)
    scores = ((one.benchmark, one.example_id, one.score) for one in outcome.results)
    now = Run(outcome.files, example_scores(scores), outcome.failure)
    found = compare(before, now, circumstances, _farthest(before.files, now.files))
    if output is not None:
        _keep(output, trial, outcome, found)
    return found


def _as_recorded(trial: TrialRecord) -> Run:
    """What the trial left, verified.

    Raises:
        SweepError: Its adapter is damaged.
    """
    if trial.state is TrialState.FAILED:
        return Run({}, {}, trial.reason or "no reason is known")
    files = {}
    if trial.adapter is not None:
        verify_adapter(trial.adapter, trial.adapter_digest)
        files = plain_files(trial.adapter)
    return Run(files, {} if trial.results is None else read_scores(trial.results))


def _start_files(ledger: Ledger, trial: TrialRecord) -> dict[str, bytes] | None:
    """The adapter that the trial started from, verified; None of a fresh one."""
    if trial.start is None:
        return None
    folder = ledger.trial(trial.start.trial_id).adapter
    assert folder is not None, "a clone starts from an adapter that there is"
    verify_adapter(folder, trial.start.digest)
    return plain_files(folder)


def _train(
    sweep: SweepSpec,
    trial: TrialRecord,
    spec: TrialSpec,
    start: dict[str, bytes] | None,
    address: RayAddress,
    say: Callable[[str], None],
) -> Outcome:
    last = max((report.evaluation for report in trial.reports), default=None)
    say(f"{trial.trial_id}: connecting to Ray ({address})")
    with connect(address), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from droplora_sweep.groups.manager import GroupManager
        from droplora_sweep.groups.pool import start_pool

        name = f"rerun-{Path(scratch).name}"
        pool = start_pool(name, sweep.group)
        with Interruption() as stop, GroupManager(sweep, pool, name, Path(scratch), say) as groups:
            say(f"{trial.trial_id}: trains again, on {sweep.group.num_workers} workers")
            if start is not None:
                pool.start_from.remote(trial.trial_id, start)
            pool.submit.remote(trial.trial_id, spec.model_dump_json())
            return _drive(pool, trial.trial_id, last, partial(_look, stop, groups), say)


def _look(stop: Interruption, groups: GroupManager) -> None:
    if stop.signal is not None:
        raise SweepError(f"the rerun was ended by {stop.signal}; nothing of it is kept")
    groups.check()


def _drive(
    pool: ActorHandle[Any],
    trial_id: str,
    last: int | None,
    look: Callable[[], None],
    say: Callable[[str], None],
) -> Outcome:
    """Let the trial train to its last evaluation, and take what it leaves."""
    from droplora_sweep.groups.pool import ask

    answer: Any
    while True:
        look()
        answer = ask(pool, "receive", trial_id, WAIT_S)
        if answer is None:
            continue
        if answer.failure is not None:
            break
        say(f"{trial_id}: evaluated {answer.evaluation}, step {answer.step}")
        if answer.evaluation in (last, answer.num_evaluations):
            break
        ask(pool, "go_on", trial_id, answer.evaluation)
    ask(pool, "end", trial_id)
    answer = None
    while answer is None:
        look()
        answer = ask(pool, "outcome", trial_id, WAIT_S)
    outcome: Outcome = answer
    return outcome


def _farthest(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> float | None:
    """The largest difference of any weight; None where they are not of the same shapes."""
    from safetensors.torch import load

    if WEIGHTS_FILE not in before or WEIGHTS_FILE not in now:
        return None
    first, second = load(before[WEIGHTS_FILE]), load(now[WEIGHTS_FILE])
    shapes = [{name: one.shape for name, one in each.items()} for each in (first, second)]
    if shapes[0] != shapes[1]:
        return None
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _keep(output: Path, trial: TrialRecord, outcome: Outcome, found: Reproduction) -> None:
    report = {
        "trial": trial.trial_id,
        "outcome": found.outcome.value,
        "details": list(found.details),
        "circumstances": list(found.circumstances),
        "failure": outcome.failure,
    }
    files: dict[str, Any] = {f"adapter/{name}": data for name, data in outcome.files.items()}
    files[REPORT] = (json.dumps(report, indent=2) + "\n").encode()
    if outcome.results:
        files["results.parquet"] = lambda path: write_results(path, outcome.results)
    with disk_faults_named(output):
        publish_folder(output.resolve(), files)
