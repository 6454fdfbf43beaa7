"""Run a sweep, resume it, stop it, and take a hand in it while it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.ledger.lease import find_holder
from droplora_sweep.ledger.reader import Ledger, named_trial, recorded_file
from droplora_sweep.ledger.requests import Ask, ask_driver, request_stop, require_driver
from droplora_sweep.mlflow_view.ui import is_server
from droplora_sweep.plan.survey import prepare
from droplora_sweep.present.terminal.noise import NoiseLog
from droplora_sweep.records.layout import LEASE
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.run.connection import resolve_address
from droplora_sweep.run.remote import REMOTE, run_remotely
from droplora_sweep.spec import load_sweep_file
from droplora_sweep.storage.job_inputs import place_inputs, settings_of_inputs

from .exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PARTIAL
from .options import (
    DEFAULT_STORAGE,
    Address,
    AllowCode,
    FailedTrials,
    File,
    Fork,
    Name,
    Overrides,
    Storage,
    Trial,
    direct_address,
    unsandboxed,
)
from .printing import (
    complain,
    own_console,
    print_lines,
    print_result,
    print_view_links,
    sweep_command,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from droplora_sweep.plan.survey import Prepared
    from droplora_sweep.run.connection import RayAddress


def run(
    file: File,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Run it under another name.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL", help="Keep the sweep there; in the file's `storage` if not set."
        ),
    ] = None,
    address: Address = "auto",
    fork: Fork = None,
    allow_code: AllowCode = False,
) -> None:
    """Run a sweep, or continue the one of that name; show its trials and the best rates."""
    cluster = resolve_address(address)
    is_remote = cluster.address.startswith(REMOTE)

    settings = [
        *_of_job(),
        *(overrides or ()),
        *([] if name is None else [f"name={name}"]),
        *([] if storage is None else [f"storage={json.dumps(storage)}"]),
        *unsandboxed(allow_code),
    ]
    loaded = load_sweep_file(file, settings, check_folders=not is_remote)
    if is_remote:
        place, text = loaded.sweep.storage, loaded.text
        raise typer.Exit(run_remotely(cluster.address, file.name, text, place, _say, fork=fork))
    fork_of = None
    if fork is not None:
        fork_of = loaded.sweep.name
        loaded = load_sweep_file(file, [*settings, f"name={fork}"])
    _run(prepare(loaded), cluster, fork_of)


def resume(
    name: Name,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "auto",
    fork: Fork = None,
) -> None:
    """Go on with a sweep from its storage alone; finished trials stay as they are."""
    cluster = direct_address(address)
    record = Ledger.open(storage, name).record
    prepared = prepare(recorded_file(record, storage, fork))
    _run(prepared, cluster, None if fork is None else name)


def retry(
    name: Name,
    trials: FailedTrials = None,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "auto",
) -> None:
    """Run failed trials again, in the running sweep or by resuming it; mend the cause first."""
    from droplora_sweep.run.retrying import find_retries

    cluster = direct_address(address)
    ledger = Ledger.open(storage, name)
    found = find_retries(ledger, trials or ())
    print_lines(own_console(), [f"not retried: {line}" for line in found.refused])
    if not found.trials:
        print_lines(own_console(), [f"{name}: has no failed trial to retry; nothing to do"])
    elif find_holder(ledger.directory / LEASE) is not None:
        for trial_id in found.trials:
            print_lines(own_console(), [ask_driver(storage, name, Ask.RETRY, trial_id)])
    else:
        prepared = prepare(recorded_file(ledger.record, storage))
        _run(prepared, cluster, None, found.trials)


def _of_job() -> list[str]:
    """Return settings that name what this job brought along, where it is on every node."""
    place = place_inputs()
    return [] if place is None else settings_of_inputs(place)


def stop(name: Name, storage: Storage = DEFAULT_STORAGE) -> None:
    """Ask a sweep's driver, wherever it runs, to save its trials and stop."""
    holder = request_stop(storage, name)
    own_console().print(f"{name}: asked its driver to stop ({holder})", highlight=False)


def _run(
    prepared: Prepared, address: RayAddress, fork_of: str | None, retries: Sequence[str] = ()
) -> None:
    """Run what was prepared; say how it ended, in words and by the exit code."""
    from droplora_sweep.sweep import run_sweep

    with NoiseLog() as log:
        result = run_sweep(prepared, address=address, log=log, fork_of=fork_of, retries=retries)
    console = own_console()
    storage, name = result.ledger.storage, result.ledger.record.name
    print_result(console, storage, name)
    uri = result.ledger.record.spec["tracking"]["mlflow_uri"]
    if result.unpublished is None and is_server(uri):
        from droplora_sweep.mlflow_view.reading import published_links

        print_view_links(console, published_links(result.ledger.record, uri, storage), uri)
    if result.unpublished is not None:
        command = sweep_command("sync", storage, name)
        why = f"MLflow lacks some of it: {result.unpublished}"
        print_lines(console, [why, f"publish it when MLflow answers: {command}"])
    outcome, reason = result.ending.outcome, result.ending.reason
    if outcome is SweepOutcome.INTERRUPTED:
        command = sweep_command("resume", storage, name)
        print_lines(console, [f"interrupted by {reason}, resumable: {command}"])
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome is SweepOutcome.FAILED:
        complain(f"the sweep failed: {reason}")
        raise typer.Exit(EXIT_FAILED)
    num_failed = sum(trial.state is TrialState.FAILED for trial in result.ledger.records())
    if num_failed or result.unpublished is not None:
        raise typer.Exit(EXIT_PARTIAL)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - lines of a driver elsewhere, as they are


def stop_trial(name: Name, trial: Trial, storage: Storage = DEFAULT_STORAGE) -> None:
    """End one trial of a running sweep at its next step; the others continue."""
    _ask(storage, name, Ask.STOP_TRIAL, trial)


def pin(name: Name, trial: Trial, storage: Storage = DEFAULT_STORAGE) -> None:
    """Let a trial of a running sweep train to its end, whatever the scheduler thinks of it."""
    _ask(storage, name, Ask.PIN, trial)


def clone(
    name: Name,
    trial: Trial,
    overrides: Overrides = None,
    from_adapter: Annotated[
        bool,
        typer.Option("--from-adapter", help="Go on from the trial's adapter, not from a new one."),
    ] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Add a trial to a running sweep: another one's, with some fields replaced."""
    from droplora_sweep.run.control import cloned_spec

    require_driver(storage, name)
    ledger = Ledger.open(storage, name)
    parent = named_trial(ledger, trial)
    spec = cloned_spec(ledger, parent, overrides or (), from_adapter=from_adapter)
    answer = ask_driver(
        storage,
        name,
        Ask.CLONE,
        parent.trial_id,
        spec=spec.model_dump(mode="json"),
        from_adapter=from_adapter,
    )
    print_lines(own_console(), [answer])


def _ask(storage: Path, name: str, ask: Ask, trial: str) -> None:

    require_driver(storage, name)
    found = named_trial(Ledger.open(storage, name), trial)
    answer = ask_driver(storage, name, ask, found.trial_id)
    print_lines(own_console(), [answer])
