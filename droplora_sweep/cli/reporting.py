"""What a sweep has found, for people who were not there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.errors import Fault, InputError, SweepError
from droplora_sweep.storage import is_url, storage_name

from .options import DEFAULT_STORAGE, Name, Storage, storage_folder, usable_path
from .printing import complain, own_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.report.comparison import Contender

UI_ADDRESS = "http://127.0.0.1:5000"
"""Where `ui` is unless it is told otherwise."""


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
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.report.making import facts_of
    from droplora_sweep.present.report.page import make_report
    from droplora_sweep.present.report.writing import write_report

    ledger = Ledger.open(storage, name)
    default = Path(f"{name}-report") if is_url(storage_name(storage)) else ledger.summary_directory
    folder = default if output is None else output
    console = own_console()
    with console.status(f"drawing {name}"):
        page = write_report(make_report(facts_of(ledger)), folder)
    console.print(f"{name}: {page}", highlight=False, markup=False, soft_wrap=True)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Two sweeps or more, the first being what the others are compared with: names in "
            "the storage, or FOLDER/NAME of another one.",
            show_default=False,
        ),
    ],
    mlflow_uri: Annotated[
        str | None,
        typer.Option(help="MLflow server that has them all; the storage's own store if not set."),
    ] = None,
    mlflow_address: Annotated[
        str | None,
        typer.Option(help="Where that server's UI is, if not at its URI; `ui`'s own if not set."),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Compare what sweeps answer, on the same examples where they have them."""
    from droplora_sweep.present.report.comparison import Contender, different_settings
    from droplora_sweep.present.report.comparison import compare as compare_sweeps
    from droplora_sweep.present.report.making import facts_of
    from droplora_sweep.present.report.side_by_side import caveat, comparison_table, settings_lines
    from droplora_sweep.spec import require_no_secret, require_tracking_uri

    require_no_secret("--mlflow-uri", mlflow_uri or "")
    require_tracking_uri("--mlflow-uri", mlflow_uri)
    require_no_secret("--mlflow-address", mlflow_address or "")
    if len(set(names)) < max(2, len(names)):
        problem = f"must be two different sweeps or more, got {', '.join(names)}"
        raise InputError([Fault("", "NAME...", problem)])
    ledgers = [_ledger(name, storage) for name in names]
    contenders = [
        Contender(name, facts_of(ledger), ledger.scores)
        for name, ledger in zip(names, ledgers, strict=True)
    ]
    rows = compare_sweeps(contenders)
    console = own_console()
    console.print(comparison_table(names, rows))
    notes = settings_lines(names, different_settings(contenders))
    for line in (*notes, *filter(None, [caveat(rows)])):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    try:
        link = _mlflow_link(contenders, ledgers, mlflow_uri, mlflow_address)
    except SweepError as error:
        complain(f"no link to MLflow's comparison: {error}")
        return
    console.print(f"\nMLflow: {link}", highlight=False, markup=False, soft_wrap=True)


def _ledger(name: str, storage: Path) -> Ledger:
    """A sweep by its name, or by its name behind another storage's."""
    from droplora_sweep.ledger.reader import Ledger

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
    """Where MLflow shows the runs that were compared.

    Raises:
        SweepError: No one store has them all.
    """
    from droplora_sweep.mlflow_view.links import comparison_link
    from droplora_sweep.present.report.comparison import compared_trials

    uris = {ledger.record.spec["tracking"]["mlflow_uri"] for ledger in ledgers}
    storages = {ledger.storage for ledger in ledgers}
    if uri is None:
        uri = uris.pop() if len(uris) == 1 else None
        if uris or (uri is None and len(storages) > 1):
            raise SweepError(
                "the sweeps are in different MLflow stores; `sync` them to one server, and give "
                "it as --mlflow-uri"
            )
    is_server = uri is not None and uri.startswith(("http://", "https://"))
    wanted = [(each.facts.record, compared_trials(each)) for each in contenders]
    return comparison_link(
        wanted,
        storage=ledgers[0].storage,
        uri=uri,
        address=address or (uri if is_server and uri else UI_ADDRESS),
    )
