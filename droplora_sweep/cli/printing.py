"""Printing that several commands share."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from droplora_sweep.errors import DropLoRASweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.stored_views import stored_links
from droplora_sweep.mlflow_view.ui import UI_ADDRESS, is_server
from droplora_sweep.present.contents.trials import trials_notes, trials_tables
from droplora_sweep.present.terminal.pace import hindsight_lines
from droplora_sweep.present.terminal.tables import terminal_table
from droplora_sweep.present.values import command_text, storage_text, visible
from droplora_sweep.records.layout import REPORT_PAGE
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from droplora_sweep.present.contents.facts import Facts
    from droplora_sweep.present.contents.table import Table
    from droplora_sweep.records.trial import SweepRecord


def own_console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=160)


def complain(text: str) -> None:
    with contextlib.suppress(OSError):
        # The exit code is left where standard error takes no more.
        print(visible(redact(text)), file=sys.stderr, flush=True)  # noqa: T201 - one plain line per fault


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print sentences as they are, a paragraph each."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print tables, each with its notes."""
    for table in tables:
        console.print(terminal_table(table))
        print_lines(console, table.notes)


def print_trials(console: Console, record: SweepRecord, **progress: Any) -> None:
    """Print a sweep's trials and what has to be known of them."""
    print_tables(console, trials_tables(record, **progress))
    print_lines(console, (*trials_notes(record), *hindsight_lines(record)))


def print_result(console: Console, storage: Path, name: str) -> None:
    """Print the trials and the answer of a sweep whose driver has ended.

    The reasons of the answer are in the report, and `best` prints them.
    """
    from droplora_sweep.present.contents.facts import facts_of

    ledger = Ledger.open(storage, name)
    record = ledger.record
    is_over = record.outcome is not SweepOutcome.INTERRUPTED
    print_trials(console, record, is_live=False)
    try:
        facts = facts_of(ledger)
        if facts.decisions:
            # The command that resumes an interrupted sweep comes last of all.
            print_closing(console, facts, with_next=is_over)
        else:
            print_lines(console, [facts.undecided if is_over else "no trial is complete yet"])
    except DropLoRASweepError as error:
        print_lines(console, [str(error)])
    page = ledger.summary_directory / REPORT_PAGE
    if page.is_file():
        print_lines(console, [f"\nreport: {os.path.relpath(page)}"])
    print_views(console, storage, record)


def print_views(console: Console, storage: Path, record: SweepRecord) -> None:
    """Print what opens MLflow's UI, and where a sweep's trials and charts are in it.

    A server, which has them too, is not asked.
    """
    uri = record.spec["tracking"]["mlflow_uri"]
    command = command_text("ui", storage=storage_text(storage))
    opens = redact(uri) if is_server(uri) else command
    found = {} if uri else stored_links(storage, record)
    console.print(f"\nMLflow UI: [bold]{escape(opens)}[/bold]", soft_wrap=True)
    print_view_links(console, found, UI_ADDRESS)


def print_view_links(console: Console, found: Mapping[str, str], server: str) -> None:
    """Print where views are, a line each; one in a terminal can be opened by a click."""
    server = server.rstrip("/")
    print_lines(console, (f"  {name}: {server}/{where}" for name, where in found.items()))


def print_decisions(console: Console, facts: Facts) -> None:
    """Print the best rates; methods side by side and the Pareto front, where there are any.

    Raises:
        SweepError: No trial is complete.
    """
    from droplora_sweep.analysis.winners import adapters_text
    from droplora_sweep.present.contents.results import result_tables

    lines = [facts.conclusion, adapters_text(facts.winners)]
    print_tables(console, result_tables(facts))
    print_lines(console, filter(None, lines))


def print_closing(console: Console, facts: Facts, *, with_next: bool = True) -> None:
    """Print what to use and how sure that is, and the one command to run next, last of all."""
    from droplora_sweep.present.contents.closing import closing

    shown = closing(facts)
    console.print()
    print_tables(console, [shown.table])
    if with_next:
        print_lines(console, [shown.sentence])


def sweep_command(command: str, storage: Path, name: str) -> str:
    """Return a command on a sweep, to be copied into a shell."""
    return command_text(command, name, storage=storage_text(storage))
