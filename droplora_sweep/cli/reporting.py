"""What a sweep has found, for people who were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT_STORAGE, Name, Storage, usable_path
from .printing import own_console


def report(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to write it; the sweep's folder summary/ if not set.",
            callback=usable_path,
        ),
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Write one HTML page, with figures beside it: which rate to use, and how sure that is."""
    from droplora_sweep.reports import write_report
    from droplora_sweep.sweep import report_of
    from droplora_sweep.tracking import Ledger

    ledger = Ledger.open(storage, name)
    folder = ledger.summary_directory if output is None else output
    console = own_console()
    with console.status(f"drawing {name}"):
        page = write_report(report_of(ledger, is_live=ledger.holder is not None), folder)
    console.print(f"{name}: {page}", highlight=False, markup=False, soft_wrap=True)
