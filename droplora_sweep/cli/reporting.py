"""Show what a sweep has found; publish it; open MLflow on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.errors import DropLoRASweepError, InputError, SweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.artifact_links import mend_links
from droplora_sweep.mlflow_view.stored_views import newest_links
from droplora_sweep.mlflow_view.ui import (
    MLFLOW_DATABASE,
    UI_ADDRESS,
    UI_PORT,
    is_server,
    serve,
    ui_command,
    ui_login,
)
from droplora_sweep.mlflow_view.views import WORKFLOW
from droplora_sweep.spec import require_no_secret
from droplora_sweep.storage.mirror import storage_name
from droplora_sweep.storage.object_store import is_url

from .completion import sweep_names
from .options import (
    DEFAULT_STORAGE,
    MlflowServer,
    Name,
    Storage,
    storage_folder,
    tracking_server,
    usable_path,
)
from .printing import (
    complain,
    own_console,
    print_lines,
    print_tables,
    print_view_links,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.present.contents.comparison import Contender


def sync(
    name: Name,
    mlflow_uri: MlflowServer = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Publish a sweep to MLflow; may be repeated, and to other servers, without duplicates."""
    from droplora_sweep.present.report.page import report_of, try_to_write

    ledger = Ledger.open(storage, name)
    # mlflow takes seconds to import, which a wrong name does not cost.
    from droplora_sweep.mlflow_view.publisher import publish_all
    from droplora_sweep.run.deciding import arm_summaries

    uri = mlflow_uri or ledger.record.spec["tracking"]["mlflow_uri"]
    console = own_console()
    with console.status(f"publishing {name}"):
        problem = try_to_write(lambda: report_of(ledger), ledger.summary_directory)
        is_live = ledger.holder is not None
        report = publish_all(ledger, uri, is_live=is_live, summarise=arm_summaries)
    num_trials = len(ledger.records())
    where = uri or f"the store in {storage_name(storage)}"
    if not report.is_complete:
        lacking = ", ".join(report.unpublished)
        raise DropLoRASweepError(f"{where} lacks some of {name} ({lacking}): {report.error}")
    print_lines(console, [f"{name}: {num_trials} trials are in {where}"])
    if uri is None or is_server(uri):
        from droplora_sweep.mlflow_view.reading import published_links

        found = published_links(ledger.record, uri, ledger.storage)
        print_view_links(console, found, uri or UI_ADDRESS)
    if problem is not None:
        print_lines(console, [f"without a new report: {problem}"])


NEWEST = 3
"""Sweeps whose charts `ui` shows the addresses of."""


def ui(
    storage: Storage = DEFAULT_STORAGE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = UI_PORT,
    login: Annotated[bool, typer.Option(help="Ask for a password, which is shown here.")] = True,
) -> None:
    """Open the MLflow UI on a storage folder's sweeps, until Ctrl-C or SIGTERM."""
    if not (storage / MLFLOW_DATABASE).is_file():
        raise DropLoRASweepError(f"--storage: must hold {MLFLOW_DATABASE}, got {storage}")
    mend_links(storage)
    own = ui_login(storage) if login else None
    command, environment = ui_command(storage, port, own)
    page = f"http://127.0.0.1:{port}/#/experiments?{WORKFLOW}"
    console = own_console()
    print_lines(console, [f"MLflow UI on {page} (takes some seconds)"])
    print_view_links(console, newest_links(storage, NEWEST), f"http://127.0.0.1:{port}")
    if own is not None:
        print_lines(console, [f"log in as {own.user} with the password {own.password}"])
    raise typer.Exit(serve(command, environment))


def report(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to write it; summary/ in the sweep's folder if not set, or, where the "
            "storage is a URL, NAME-report here.",
            callback=usable_path,
        ),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Write one HTML page, with figures beside it: which rate to use, and how sure that is."""
    from droplora_sweep.present.report.page import report_of, write_report

    ledger = Ledger.open(storage, name)
    default = Path(f"{name}-report") if is_url(storage_name(storage)) else ledger.summary_directory
    folder = default if output is None else output
    console = own_console()
    with console.status(f"drawing {name}"):
        page = write_report(report_of(ledger), folder)
    print_lines(console, [f"{name}: {page}"])


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Two sweeps or more, the first being what the others are compared with: names in "
            "the storage, or FOLDER/NAME of another one.",
            show_default=False,
            autocompletion=sweep_names,
        ),
    ],
    mlflow_uri: Annotated[
        str | None,
        typer.Option(
            callback=tracking_server,
            help="MLflow server that has them all; the storage's own store if not set.",
        ),
    ] = None,
    mlflow_address: Annotated[
        str | None,
        typer.Option(help="Where that server's UI is, if not at its URI; `ui`'s own if not set."),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Compare what sweeps answer, on the same examples where they have them."""
    from droplora_sweep.present.contents.comparison import (
        Contender,
        comparison_table,
        different_settings,
        settings_lines,
    )
    from droplora_sweep.present.contents.comparison import compare as compare_sweeps
    from droplora_sweep.present.contents.facts import facts_of

    require_no_secret("--mlflow-address", mlflow_address or "")
    if len(set(names)) < max(2, len(names)):
        problem = f"must be two different sweeps or more, got {', '.join(names)}"
        raise InputError.of("NAME...", problem)
    ledgers = [_ledger(name, storage) for name in names]
    contenders = [
        Contender(name, facts_of(ledger), ledger.scores)
        for name, ledger in zip(names, ledgers, strict=True)
    ]
    rows = compare_sweeps(contenders)
    console = own_console()
    print_tables(console, [comparison_table(names, rows)])
    print_lines(console, settings_lines(names, different_settings(contenders)))
    try:
        link = _mlflow_link(contenders, ledgers, mlflow_uri, mlflow_address)
    except SweepError as error:
        complain(f"no link to MLflow's comparison: {error}")
        return
    print_lines(console, [f"\nMLflow: {link}"])


def _ledger(name: str, storage: Path) -> Ledger:
    """A sweep by its name, or by its name behind another storage's."""
    elsewhere, slash, own = name.rstrip("/").rpartition("/")
    if not slash:
        return Ledger.open(storage, name)
    return Ledger.open(storage_folder(elsewhere or "/"), own)


def _mlflow_link(
    contenders: Sequence[Contender],
    ledgers: Sequence[Ledger],
    uri: str | None,
    address: str | None,
) -> str:
    """Return the address at which MLflow shows the runs that were compared.

    Raises:
        SweepError: No one store has them all.
    """
    from droplora_sweep.mlflow_view.reading import comparison_link
    from droplora_sweep.present.contents.comparison import compared_trials

    uris = {ledger.record.spec["tracking"]["mlflow_uri"] for ledger in ledgers}
    storages = {ledger.storage for ledger in ledgers}
    if uri is None:
        uri = uris.pop() if len(uris) == 1 else None
        if uris or (uri is None and len(storages) > 1):
            raise SweepError(
                "the sweeps are in different MLflow stores; `sync` them to one server, and give "
                "it as --mlflow-uri"
            )
    wanted = [(each.facts.record, compared_trials(each)) for each in contenders]
    return comparison_link(
        wanted,
        storage=ledgers[0].storage,
        uri=uri,
        address=address or (uri if uri and is_server(uri) else UI_ADDRESS),
    )
