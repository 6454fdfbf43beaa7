"""Show single examples: those on which two settings disagree."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from droplora_sweep.ledger.reader import Ledger

from .completion import trial_ids
from .options import DEFAULT_STORAGE, Name, Storage
from .printing import own_console, print_lines, print_tables

SETTING = "a trial (t0003), an arm of the confirmation, or a rate (p=0.2)"


def diff(
    name: Name,
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help=f"A setting: {SETTING}.",
            show_default=False,
            autocompletion=trial_ids,
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="Another, to compare it with.",
            show_default=False,
            autocompletion=trial_ids,
        ),
    ],
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="One benchmark; all of them if not set.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="At most so many examples of each benchmark.")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show the examples on which two settings disagree over their seeds, the surest first."""
    from droplora_sweep.present.contents.differences import (
        SURE_TEXT,
        difference_table,
        differences,
        differences_json,
    )

    ledger = Ledger.open(storage, name)
    found = differences(ledger, first, second, benchmark=benchmark, limit=limit)
    if as_json:
        content = differences_json(name, found)
        print(json.dumps(content, indent=2, allow_nan=False))  # noqa: T201 - plain JSON
        return
    console = own_console()
    for table in map(difference_table, found):
        if table.rows:
            print_tables(console, [table])
        else:
            print_lines(console, [table.title, *table.notes])
    if any(one.examples for one in found):
        print_lines(console, [SURE_TEXT])
