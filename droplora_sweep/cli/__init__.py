"""The command line: parse, call, print.

Exit codes: 0 done, 1 the sweep failed, cannot be found or has another driver, 2 the input breaks a
rule, 3 done but some trials failed, 75 interrupted and resumable.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from droplora_sweep.errors import DropLoRASweepError, Fault, InputError
from droplora_sweep.redaction import redact
from droplora_sweep.storage import is_url, storage_name

from .options import (
    DEFAULT_STORAGE,
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PARTIAL,
    Address,
    AllowCode,
    File,
    Fork,
    Name,
    Overrides,
    Split,
    Storage,
    storage_folder,
    unsandboxed,
    usable_path,
)

if TYPE_CHECKING:
    from droplora_sweep.driver.preflight import Prepared

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find the best DropLoRA pruning rate: hyperparameter sweeps on Ray.",
)


@app.command()
def validate(file: File, overrides: Overrides = None) -> None:
    """Check a file, its model and its data; name every fault."""
    from droplora_sweep.driver.preflight import prepare
    from droplora_sweep.spec import load_sweep_file

    prepare(load_sweep_file(file, overrides or ()))
    _console().print(f"{file}: valid", highlight=False)


@app.command()
def plan(file: File, overrides: Overrides = None, address: Address = "auto") -> None:
    """Show the resolved spec and what a sweep would take; start nothing."""
    import yaml

    from droplora_sweep.display.tables import plan_table
    from droplora_sweep.driver.connection import nodes_at
    from droplora_sweep.driver.plan import make_plan
    from droplora_sweep.driver.preflight import check_room, prepare
    from droplora_sweep.spec import load_sweep_file

    prepared = prepare(load_sweep_file(file, overrides or ()))
    nodes = nodes_at(address)
    check_room(prepared.file, nodes)
    console = _console()
    resolved = yaml.safe_dump(prepared.sweep.model_dump(mode="json"), sort_keys=False)
    console.print(resolved, highlight=False, markup=False)
    console.print(plan_table(prepared, make_plan(prepared, nodes)))


@app.command()
def run(
    file: File,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Run it under another name.")] = None,
    address: Address = "auto",
    fork: Fork = None,
    allow_code: AllowCode = False,
) -> None:
    """Run a sweep, or go on with the one of that name; show its trials and the best rates."""
    from droplora_sweep.driver.preflight import prepare
    from droplora_sweep.driver.remote import REMOTE, run_remotely
    from droplora_sweep.spec import load_sweep_file

    settings = [
        *(overrides or ()),
        *([] if name is None else [f"name={name}"]),
        *unsandboxed(allow_code),
    ]
    loaded = load_sweep_file(file, settings, check_folders=not address.startswith(REMOTE))
    if address.startswith(REMOTE):
        storage = loaded.sweep.storage
        raise typer.Exit(run_remotely(address, file, storage, settings, _say, fork=fork))
    fork_of = None
    if fork is not None:
        fork_of = loaded.sweep.name
        loaded = load_sweep_file(file, [*settings, f"name={fork}"])
    _run(prepare(loaded), address, fork_of)


@app.command()
def resume(
    name: Name,
    storage: Storage = DEFAULT_STORAGE,
    address: Address = "auto",
    fork: Fork = None,
) -> None:
    """Go on with a sweep from its storage alone; finished trials stay as they are."""
    from droplora_sweep.driver.preflight import prepare
    from droplora_sweep.driver.recorded import recorded_file
    from droplora_sweep.driver.remote import REMOTE
    from droplora_sweep.tracking import Ledger

    if address.startswith(REMOTE):
        problem = f"must reach the storage directly, got {address}; submit it as a Ray job instead"
        raise InputError([Fault("", "--address", problem)])
    record = Ledger.open(storage, name).record
    prepared = prepare(recorded_file(record, storage, fork))
    _run(prepared, address, None if fork is None else name)


@app.command()
def stop(name: Name, storage: Storage = DEFAULT_STORAGE) -> None:
    """Ask a sweep's driver, wherever it runs, to save its trials and stop."""
    from droplora_sweep.tracking import request_stop

    holder = request_stop(storage, name)
    _console().print(f"{name}: asked its driver to stop ({holder})", highlight=False)


def _run(prepared: Prepared, address: str, fork_of: str | None) -> None:
    """Run what was prepared; say how it ended, in words and by the exit code."""
    from droplora_sweep.display.noise import NoiseLog
    from droplora_sweep.sweep import run_sweep
    from droplora_sweep.tracking import SweepOutcome, TrialState

    with NoiseLog() as log:
        result = run_sweep(prepared, address=address, log=log, fork_of=fork_of)
    console = _console()
    storage, name = result.ledger.storage, result.ledger.record.name
    _print_result(console, storage, name)
    if result.unpublished is not None:
        console.print(f"MLflow lacks some of it: {result.unpublished}", highlight=False)
    if result.outcome is SweepOutcome.INTERRUPTED:
        command = _resume_command(storage, name)
        console.print(f"interrupted by {result.reason}, resumable: {command}", soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.outcome is SweepOutcome.FAILED:
        _complain(f"the sweep failed: {result.reason}")
        raise typer.Exit(EXIT_FAILED)
    if any(trial.state is TrialState.FAILED for trial in result.ledger.records()):
        raise typer.Exit(EXIT_PARTIAL)


@app.command()
def status(name: Name, storage: Storage = DEFAULT_STORAGE) -> None:
    """Show a sweep's trials, while it runs or after."""
    from droplora_sweep.display.tables import trials_notes, trials_table
    from droplora_sweep.tracking import Ledger, SweepOutcome

    ledger = Ledger.open(storage, name)
    record, holder = ledger.record, ledger.holder
    console = _console()
    console.print(trials_table(record, is_live=holder is not None))
    for line in trials_notes(record):
        console.print(line, highlight=False, soft_wrap=True)
    if holder is not None:
        line = f"running on {holder}"
    elif record.outcome in (SweepOutcome.COMPLETE, SweepOutcome.FAILED):
        line = record.outcome.lower() + (f", {record.reason}" if record.reason else "")
    else:
        why = record.reason or "its driver died"
        line = f"interrupted, {why}; resumable: {_resume_command(storage, name)}"
    console.print(f"{name}: {line}", highlight=False, soft_wrap=True)


@app.command()
def best(name: Name, storage: Storage = DEFAULT_STORAGE) -> None:
    """Show the best pruning rate per benchmark, and how sure that is."""
    from droplora_sweep.selection import explore, marginal_text
    from droplora_sweep.tracking import Ledger

    console = _console()
    _print_decisions(console, storage, name)
    for marginal in explore(Ledger.open(storage, name).records()):
        if marginal.points:
            console.print(marginal_text(marginal), highlight=False, soft_wrap=True)


@app.command("eval")
def evaluate(
    file: File,
    overrides: Overrides = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|RUN",
            help="An adapter's (or a whole model's) folder, or an MLflow run; else the base model.",
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Which examples.")] = Split.VALIDATION,
    allow_code: AllowCode = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write results.parquet and scores.json here.", callback=usable_path),
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(
            parser=storage_folder,
            metavar="FOLDER|URL",
            callback=usable_path,
            help="Where an MLflow run is; the file's storage if not set.",
        ),
    ] = None,
    compare_generation: Annotated[
        bool,
        typer.Option(
            "--compare-generation",
            help="With `evaluation.choice: score`: decode too, and tell how often both agree.",
        ),
    ] = False,
) -> None:
    """Score an adapter or a base model on a file's task, outside a sweep."""
    from droplora_sweep.driver.preflight import check_comparison, check_sandbox, prepare
    from droplora_sweep.spec import load_sweep_file

    prepared = prepare(load_sweep_file(file, [*(overrides or ()), *unsandboxed(allow_code)]))
    check_sandbox(prepared.file, prepared.task)
    if compare_generation:
        check_comparison(prepared)
    # torch takes seconds to import, which a fault in the file does not cost.
    from droplora_sweep.display.scores import further_lines, scores_notes, scores_table
    from droplora_sweep.driver.scoring import score_outside_a_sweep

    console = _console()
    with console.status(f"scoring on the {split} split"):
        scored = score_outside_a_sweep(
            prepared.sweep, adapter, split.value, storage, compare_generation=compare_generation
        )
    console.print(scores_table(scored))
    notes = scores_notes(scored, prepared.sweep.evaluation.on_long_prompt)
    for line in (*further_lines(scored), *notes):
        console.print(line, highlight=False, soft_wrap=True)
    if output is not None:
        scored.write(output)
        console.print(f"per-example results: {output / 'results.parquet'}", highlight=False)


@app.command()
def compress(
    name: Name,
    trial: Annotated[
        str, typer.Argument(help="A trial's id or its start, e.g. t0003.", show_default=False)
    ],
    ranks: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Halves of the adapter's rank if not set.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write each truncated adapter to OUTPUT/rank-N.", callback=usable_path),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Truncate a trial's adapter to lower ranks and score each on the validation split."""
    from droplora_sweep.driver.trials import find_trial
    from droplora_sweep.tracking import Ledger

    wanted = None if ranks is None else _numbers("--ranks", ranks)
    found = find_trial(Ledger.open(storage, name), trial)
    # torch takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.display.curves import curve_table, curve_text
    from droplora_sweep.driver.compression import lowest_kept, rank_curve

    console = _console()
    with console.status("loading the model") as doing:
        points = rank_curve(
            found, wanted, output, lambda rank: doing.update(f"scoring rank {rank}")
        )
    console.print(curve_table(found, points))
    for line in curve_text(found, points, lowest_kept(points)):
        console.print(line, highlight=False, soft_wrap=True)


@app.command()
def sync(
    name: Name,
    mlflow_uri: Annotated[
        str | None, typer.Option(help="MLflow server; the sweep's own if not set.")
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Publish a sweep to MLflow; may be repeated, and to other servers, without duplicates."""
    from droplora_sweep.spec import require_no_secret
    from droplora_sweep.tracking import Ledger

    require_no_secret("--mlflow-uri", mlflow_uri or "")
    ledger = Ledger.open(storage, name)
    # mlflow takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.tracking.mlflow_view import publish_all

    uri = mlflow_uri or ledger.record.spec["tracking"]["mlflow_uri"]
    console = _console()
    with console.status(f"publishing {name}"):
        report = publish_all(ledger, uri, is_live=ledger.holder is not None)
    num_trials = len(ledger.records())
    where = uri or f"the store in {storage_name(storage)}"
    if not report.is_complete:
        lacking = ", ".join(report.unpublished)
        raise DropLoRASweepError(f"{where} lacks some of {name} ({lacking}): {report.error}")
    console.print(f"{name}: {num_trials} trials are in {where}", highlight=False)


@app.command()
def ui(
    storage: Storage = DEFAULT_STORAGE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    login: Annotated[bool, typer.Option(help="Ask for a password, which is shown here.")] = True,
) -> None:
    """Open the MLflow UI on a storage folder's sweeps, until Ctrl-C."""
    from droplora_sweep.tracking import ui_command, ui_login
    from droplora_sweep.tracking.ui import MLFLOW_DATABASE

    if not (storage / MLFLOW_DATABASE).is_file():
        raise DropLoRASweepError(f"--storage: must hold {MLFLOW_DATABASE}, got {storage}")
    own = ui_login(storage) if login else None
    command, environment = ui_command(storage, port, own)
    # MLflow opens on its GenAI pages unless the address asks for those of model training.
    page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
    _console().print(f"MLflow UI on {page} (takes some seconds)", highlight=False)
    if own is not None:
        _console().print(f"log in as {own.user} with the password {own.password}", highlight=False)
    try:
        code = subprocess.call(command, env={**os.environ, **environment})
    except KeyboardInterrupt:
        code = 0
    raise typer.Exit(code)


@app.command()
def schema() -> None:
    """Print the JSON Schema of search-space files, for editors."""
    import json

    from droplora_sweep.spec.schema import json_schema

    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - plain JSON for other programs


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what a user did wrong is one line per fault, without a traceback.

    Every file is its owner's alone, also those that MLflow, sqlite, Ray and Optuna create: adapters
    and scores may tell of private data.
    """
    os.umask(0o077)
    try:
        app(arguments, prog_name="droplora-sweep")
    except InputError as error:
        _complain(str(error))
        sys.exit(EXIT_BAD_INPUT)
    except DropLoRASweepError as error:
        _complain(str(error))
        sys.exit(EXIT_FAILED)


def _print_result(console: Console, storage: Path, name: str) -> None:
    from droplora_sweep.display.tables import trials_notes, trials_table
    from droplora_sweep.tracking import Ledger

    record = Ledger.open(storage, name).record
    console.print(trials_table(record, is_live=False))
    for line in trials_notes(record):
        console.print(line, highlight=False, soft_wrap=True)
    try:
        _print_decisions(console, storage, name)
    except DropLoRASweepError as error:
        console.print(str(error), highlight=False)
    command = ["droplora-sweep", "ui", "--storage", _shown(storage)]
    console.print(f"\nMLflow UI: [bold]{shlex.join(command)}[/bold]", soft_wrap=True)


def _resume_command(storage: Path, name: str) -> str:
    command = ["droplora-sweep", "resume", name]
    if storage.resolve() != DEFAULT_STORAGE.resolve():
        command += ["--storage", _shown(storage)]
    return shlex.join(command)


def _shown(storage: Path) -> str:
    name = storage_name(storage)
    return name if is_url(name) else os.path.relpath(storage)


def _print_decisions(console: Console, storage: Path, name: str) -> None:
    from droplora_sweep.display.tables import rates_table
    from droplora_sweep.selection import decisions_text
    from droplora_sweep.sweep import decide, protocol
    from droplora_sweep.tracking import Ledger

    ledger = Ledger.open(storage, name)
    decisions = decide(ledger)
    console.print(rates_table(decisions))
    console.print(decisions_text(decisions, protocol(ledger)), highlight=False, soft_wrap=True)


def _numbers(option: str, text: str) -> list[int]:
    """The whole numbers that commas separate.

    Raises:
        InputError: Something else is between two commas.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        problem = f"must be whole numbers with commas between, got {text}"
        raise InputError([Fault("", option, problem)]) from error


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - lines of a driver elsewhere, as they are


def _complain(text: str) -> None:
    # A name may hold what moves a terminal's cursor or turns the direction of writing.
    visible = "".join(
        each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}"
        for each in redact(text)
    )
    print(visible, file=sys.stderr)  # noqa: T201 - one plain line per fault, without markup
