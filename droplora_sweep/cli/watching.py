"""Show where a sweep stands: once, or as it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.ledger.following import Follower
from droplora_sweep.ledger.progress import read_progress
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.stored_views import stored_links
from droplora_sweep.present.terminal.status import stage_of, status_of, watch_status

from .options import DEFAULT_STORAGE, Name, Storage
from .printing import own_console, print_lines, print_tables, print_views

if TYPE_CHECKING:
    from rich.console import Console

    from droplora_sweep.present.terminal.status import Status


def status(
    name: Name,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew as it changes, until Ctrl-C or its end.")
    ] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show a sweep's trials, while it runs or after."""
    console = own_console()
    if watch:
        _watch(name, storage, console)
        return
    ledger = Ledger.open(storage, name)
    live = read_progress(ledger.directory)
    shown = status_of(ledger, ledger.holder, live, stage_of(ledger))
    print_tables(console, shown.tables)
    print_lines(console, shown.notes)
    if stored_links(storage, ledger.record):
        print_views(console, storage, ledger.record)
    print_lines(console, shown.ends)


def _watch(name: str, storage: Storage, console: Console) -> None:
    try:
        watch_status(Follower(storage, name), console, lambda status: _show(console, status))
    except KeyboardInterrupt:
        # The other one may have been in the middle of a block, which it would print again.
        print_lines(own_console(), [f"{name}: no longer watched; its driver was told nothing"])


def _show(console: Console, status: Status) -> None:
    print_tables(console, status.tables)
    print_lines(console, (*status.notes, *status.ends))
