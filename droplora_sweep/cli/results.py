"""Where a sweep stands: show it, publish it, open MLflow on it."""

from __future__ import annotations

from typing import Annotated

import typer

from droplora_sweep.errors import DropLoRASweepError
from droplora_sweep.storage import storage_name

from .options import DEFAULT_STORAGE, Name, Storage
from .printing import own_console, resume_command, time_lines


def status(name: Name, storage: Storage = DEFAULT_STORAGE) -> None:
    """Show a sweep's trials, while it runs or after."""
    from droplora_sweep.ledger.progress import read_progress
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.terminal.pace import running_text
    from droplora_sweep.present.terminal.tables import trials_notes, trials_tables
    from droplora_sweep.records.trial import SweepOutcome
    from droplora_sweep.run.deciding import stage_text

    ledger = Ledger.open(storage, name)
    record, holder = ledger.record, ledger.holder
    console = own_console()
    live = read_progress(ledger.directory)
    for table in trials_tables(record, is_live=holder is not None, live=live):
        console.print(table)
    for line in (*trials_notes(record), *time_lines(record)):
        console.print(line, highlight=False, soft_wrap=True)
    if stage := stage_text(ledger):
        console.print(f"{name}: {stage}", highlight=False, soft_wrap=True)
    if holder is not None:
        line = f"running on {holder}, {running_text(live)}"
    elif record.outcome in (SweepOutcome.COMPLETE, SweepOutcome.FAILED):
        line = record.outcome.lower() + (f", {record.reason}" if record.reason else "")
    else:
        why = record.reason or "its driver died"
        line = f"interrupted, {why}; resumable: {resume_command(storage, name)}"
    console.print(f"{name}: {line}", highlight=False, soft_wrap=True)


def sync(
    name: Name,
    mlflow_uri: Annotated[
        str | None, typer.Option(help="MLflow server; the sweep's own if not set.")
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Publish a sweep to MLflow; may be repeated, and to other servers, without duplicates."""
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.report.making import facts_of, try_to_write
    from droplora_sweep.present.report.page import make_report
    from droplora_sweep.spec import require_no_secret, require_tracking_uri

    require_no_secret("--mlflow-uri", mlflow_uri or "")
    require_tracking_uri("--mlflow-uri", mlflow_uri)
    ledger = Ledger.open(storage, name)
    # mlflow takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.mlflow_view.publisher import publish_all

    uri = mlflow_uri or ledger.record.spec["tracking"]["mlflow_uri"]
    console = own_console()
    with console.status(f"publishing {name}"):
        problem = try_to_write(lambda: make_report(facts_of(ledger)), ledger.summary_directory)
        report = publish_all(ledger, uri, is_live=ledger.holder is not None)
    num_trials = len(ledger.records())
    where = uri or f"the store in {storage_name(storage)}"
    if not report.is_complete:
        lacking = ", ".join(report.unpublished)
        raise DropLoRASweepError(f"{where} lacks some of {name} ({lacking}): {report.error}")
    console.print(f"{name}: {num_trials} trials are in {where}", highlight=False)
    if problem is not None:
        console.print(f"without a new report: {problem}", highlight=False, markup=False)


def ui(
    storage: Storage = DEFAULT_STORAGE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    login: Annotated[bool, typer.Option(help="Ask for a password, which is shown here.")] = True,
) -> None:
    """Open the MLflow UI on a storage folder's sweeps, until Ctrl-C or SIGTERM."""
    from droplora_sweep.mlflow_view.artifact_links import mend_links
    from droplora_sweep.mlflow_view.ui import MLFLOW_DATABASE, ui_command
    from droplora_sweep.mlflow_view.ui_login import ui_login
    from droplora_sweep.mlflow_view.ui_server import serve

    if not (storage / MLFLOW_DATABASE).is_file():
        raise DropLoRASweepError(f"--storage: must hold {MLFLOW_DATABASE}, got {storage}")
    mend_links(storage)
    own = ui_login(storage) if login else None
    command, environment = ui_command(storage, port, own)
    # MLflow opens on its GenAI pages unless the address asks for those of model training.
    page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
    console = own_console()
    console.print(f"MLflow UI on {page} (takes some seconds)", highlight=False)
    if own is not None:
        console.print(f"log in as {own.user} with the password {own.password}", highlight=False)
    raise typer.Exit(serve(command, environment))
