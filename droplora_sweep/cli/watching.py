"""Show where a sweep stands: once, as it changes, or on a page."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from droplora_sweep.errors import InputError, SweepError
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


def watch(
    name: Name,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any that is free.")
    ] = 5100,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own only show.")
    ] = "127.0.0.1",
    controls: Annotated[
        bool | None,
        typer.Option(
            "--controls/--read-only",
            help="Stop, pin and clone from the page; where only this machine sees it if not set.",
        ),
    ] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Show a sweep on a page that changes as it runs, until Ctrl-C: curves, answer, controls."""
    try:
        follower = Follower(storage, name)
    except SweepError as error:
        # Nothing was started: the name is input here.
        field, _, problem = str(error).partition(": ")
        raise InputError.of(field, problem) from error
    from droplora_sweep.present.watch.server import WatchServer

    console = own_console()
    with WatchServer(follower, host=host, port=port, can_control=controls) as server:
        print_lines(console, [f"{name} is shown on {server.address}", "Ctrl-C ends the page"])
        if opens:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print_lines(own_console(), [f"{name}: its page is closed; its driver was told nothing"])
