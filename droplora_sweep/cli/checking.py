"""Before anything runs: examine this machine or a cluster's nodes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from droplora_sweep.present.terminal.noise import NoiseLog
from droplora_sweep.spec import load_sweep_file

from .exit_codes import EXIT_FAILED
from .options import Address, OptionalFile, Overrides, direct_address
from .printing import own_console, print_lines, print_tables


def doctor(
    file: OptionalFile = None,
    overrides: Overrides = None,
    address: Address = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Check this machine and a cluster's nodes for what a sweep needs; start no sweep."""
    from droplora_sweep.doctor.checkup import examine
    from droplora_sweep.doctor.table import advice_lines, checkup_json, checkup_table

    loaded = None if file is None else load_sweep_file(file, overrides or ())
    console = own_console()
    cluster = direct_address(address)
    with NoiseLog() as log, log.console.status("examining") as shown:
        checkup = examine(cluster, loaded, shown.update)
    # What workers say of a fault is in its line.
    log.path.unlink()
    if as_json:
        print(json.dumps(checkup_json(checkup), indent=2))  # noqa: T201 - plain JSON
    else:
        print_tables(console, [checkup_table(checkup)])
        print_lines(console, advice_lines(checkup))
    if checkup.has_fault:
        raise typer.Exit(EXIT_FAILED)
