"""The command line: parse, call, print.

Exit codes: 0 done, 1 the sweep failed, cannot be found or has another driver, 2 the input breaks a
rule, 3 done but some trials failed, 75 interrupted and resumable.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .errors import DropLoRASweepError, Fault, InputError
from .redaction import redact
from .storage import is_url, local_storage, storage_name

if TYPE_CHECKING:
    from .driver.preflight import Prepared

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find the best DropLoRA pruning rate: hyperparameter sweeps on Ray.",
)


class Split(StrEnum):
    """Examples to score on."""

    VALIDATION = "validation"
    TEST = "test"


EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_PARTIAL = 3
EXIT_INTERRUPTED = 75
"""EX_TEMPFAIL of sysexits.h: try again."""

File = Annotated[Path, typer.Argument(help="A search-space file.", show_default=False)]
Name = Annotated[str, typer.Argument(help="The sweep's name.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a field, e.g. adapter.rank=8."),
]


def _storage(given: str | Path) -> Path:
    """The folder to work in; an option that is not given arrives as the path it defaults to."""
    return local_storage(str(given))


def _usable(option: typer.CallbackParam, path: Path | None) -> Path | None:
    """A path that the file system can be asked about.

    Raises:
        InputError: It cannot, because a name in it is too long for example.
    """
    try:
        if path is not None:
            path.exists()
    except OSError as error:
        problem = f"must be a usable path: {error.strerror}"
        raise InputError([Fault("", option.opts[0], problem)]) from error
    return path


Storage = Annotated[
    Path,
    typer.Option(
        parser=_storage,
        metavar="FOLDER|URL",
        callback=_usable,
        help="Folder or URL that holds the sweeps.",
    ),
]
Address = Annotated[
    str, typer.Option(help="auto (RAY_ADDRESS, else local), local, or a Ray cluster's address.")
]
Fork = Annotated[
    str | None,
    typer.Option(metavar="NEWNAME", help="Start a new sweep from what this one has found."),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-unsandboxed-code",
        help="Run code answers even where there is no sandbox (bubblewrap) for them.",
    ),
]
DEFAULT_STORAGE = Path("results")


def _unsandboxed(is_allowed: bool) -> list[str]:
    return ["evaluation.allow_unsandboxed_code=true"] if is_allowed else []


@app.command()
def validate(file: File, overrides: Overrides = None) -> None:
    """Check a file, its model and its data; name every fault."""
    from .driver.preflight import prepare
    from .spec import load_sweep_file

    prepare(load_sweep_file(file, overrides or ()))
    _console().print(f"{file}: valid", highlight=False)


@app.command()
def plan(file: File, overrides: Overrides = None, address: Address = "auto") -> None:
    """Show the resolved spec and what a sweep would take; start nothing."""
    import yaml

    from .display.tables import plan_table
    from .driver.connection import nodes_at
    from .driver.plan import make_plan
    from .driver.preflight import check_room, prepare
    from .spec import load_sweep_file

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
    from .driver.preflight import prepare
    from .driver.remote import REMOTE, run_remotely
    from .spec import load_sweep_file

    settings = [
        *(overrides or ()),
        *([] if name is None else [f"name={name}"]),
        *_unsandboxed(allow_code),
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
    from .driver.preflight import prepare
    from .driver.recorded import recorded_file
    from .driver.remote import REMOTE
    from .tracking import Ledger

    if address.startswith(REMOTE):
        problem = f"must reach the storage directly, got {address}; submit it as a Ray job instead"
        raise InputError([Fault("", "--address", problem)])
    record = Ledger.open(storage, name).record
    prepared = prepare(recorded_file(record, storage, fork))
    _run(prepared, address, None if fork is None else name)


@app.command()
def stop(name: Name, storage: Storage = DEFAULT_STORAGE) -> None:
    """Ask a sweep's driver, wherever it runs, to save its trials and stop."""
    from .tracking import request_stop

    holder = request_stop(storage, name)
    _console().print(f"{name}: asked its driver to stop ({holder})", highlight=False)


def _run(prepared: Prepared, address: str, fork_of: str | None) -> None:
    """Run what was prepared; say how it ended, in words and by the exit code."""
    from .display.noise import NoiseLog
    from .sweep import run_sweep
    from .tracking import SweepOutcome, TrialState

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
    from .display.tables import trials_notes, trials_table
    from .tracking import Ledger, SweepOutcome

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
    from .selection import explore, marginal_text
    from .tracking import Ledger

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
        typer.Option(help="Write results.parquet and scores.json here.", callback=_usable),
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(
            parser=_storage,
            metavar="FOLDER|URL",
            callback=_usable,
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
    from .driver.preflight import check_comparison, check_sandbox, prepare
    from .spec import load_sweep_file

    prepared = prepare(load_sweep_file(file, [*(overrides or ()), *_unsandboxed(allow_code)]))
    check_sandbox(prepared.file, prepared.task)
    if compare_generation:
        check_comparison(prepared)
    # torch takes seconds to import, which a fault in the file does not cost.
    from .display.scores import further_lines, scores_notes, scores_table
    from .driver.scoring import score_outside_a_sweep

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
        typer.Option(help="Write each truncated adapter to OUTPUT/rank-N.", callback=_usable),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Truncate a trial's adapter to lower ranks and score each on the validation split."""
    from .driver.trials import find_trial
    from .tracking import Ledger

    wanted = None if ranks is None else _numbers("--ranks", ranks)
    found = find_trial(Ledger.open(storage, name), trial)
    # torch takes seconds to import, which a wrong name does not cost.
    from .display.curves import curve_table, curve_text
    from .driver.compression import lowest_kept, rank_curve

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
    from .spec import require_no_secret
    from .tracking import Ledger

    require_no_secret("--mlflow-uri", mlflow_uri or "")
    ledger = Ledger.open(storage, name)
    # mlflow takes seconds to import, which a wrong name does not cost.
    from .tracking.mlflow_view import publish_all

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
    from .tracking import ui_command, ui_login
    from .tracking.ui import MLFLOW_DATABASE

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

    from .spec.schema import json_schema

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
    from .display.tables import trials_notes, trials_table
    from .tracking import Ledger

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
    from .display.tables import rates_table
    from .selection import decisions_text
    from .sweep import decide, protocol
    from .tracking import Ledger

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


if __name__ == "__main__":
    main()
