"""What a sweep has found, for people who were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from droplora_sweep.storage import is_url, storage_name

from .options import DEFAULT_STORAGE, Name, Storage, usable_path
from .printing import own_console


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
    from droplora_sweep.reports import facts_of, make_report, write_report
    from droplora_sweep.tracking import Ledger

    ledger = Ledger.open(storage, name)
    default = Path(f"{name}-report") if is_url(storage_name(storage)) else ledger.summary_directory
    folder = default if output is None else output
    console = own_console()
    with console.status(f"drawing {name}"):
        page = write_report(make_report(facts_of(ledger)), folder)
    console.print(f"{name}: {page}", highlight=False, markup=False, soft_wrap=True)
