"""What several commands print, and how."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from droplora_sweep.errors import DropLoRASweepError
from droplora_sweep.records.layout import REPORT_PAGE
from droplora_sweep.redaction import redact
from droplora_sweep.storage.mirror import storage_name
from droplora_sweep.storage.object_store import is_url

from .options import DEFAULT_STORAGE

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.report.facts import Facts
    from droplora_sweep.records.trial import SweepRecord


def own_console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=160)


def complain(text: str) -> None:
    # A name may hold what moves a terminal's cursor or turns the direction of writing.
    visible = "".join(
        each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}"
        for each in redact(text)
    )
    with contextlib.suppress(OSError):
        # The exit code is left where standard error takes no more.
        print(visible, file=sys.stderr, flush=True)  # noqa: T201 - one plain line per fault


def print_result(console: Console, storage: Path, name: str) -> None:
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.report.page import facts_of
    from droplora_sweep.present.terminal.tables import trials_notes, trials_tables
    from droplora_sweep.records.trial import SweepOutcome

    ledger = Ledger.open(storage, name)
    record = ledger.record
    for table in trials_tables(record, is_live=False):
        console.print(table)
    for line in (*trials_notes(record), *time_lines(record)):
        console.print(line, highlight=False, soft_wrap=True)
    try:
        print_decisions(console, ledger)
        # Of an interrupted sweep the command that goes on with it is told last of all.
        if record.outcome is not SweepOutcome.INTERRUPTED:
            print_answer(console, facts_of(ledger))
    except DropLoRASweepError as error:
        is_over = record.outcome is not SweepOutcome.INTERRUPTED
        console.print(str(error) if is_over else "no trial is complete yet", highlight=False)
    page = ledger.summary_directory / REPORT_PAGE
    if page.is_file():
        text = f"\nreport: {os.path.relpath(page)}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    command = ["droplora-sweep", "ui", "--storage", _shown(storage)]
    console.print(f"\nMLflow UI: [bold]{escape(shlex.join(command))}[/bold]", soft_wrap=True)


def time_lines(record: SweepRecord) -> list[str]:
    """Estimated against real time, where there is something to tell."""
    from droplora_sweep.plan.costs.pace import look_back
    from droplora_sweep.present.terminal.costs import hindsight_line
    from droplora_sweep.present.terminal.pace import timed_trials

    line = hindsight_line(look_back(timed_trials(record)))
    return [] if line is None else [line]


def print_decisions(console: Console, ledger: Ledger) -> None:
    """The best rates; methods side by side and the Pareto front, where the sweep has them."""
    from droplora_sweep.analysis.methods import compare_methods, compared_fields
    from droplora_sweep.analysis.ranking import pareto_front
    from droplora_sweep.analysis.winners import adapters_text
    from droplora_sweep.present.terminal.results import (
        arms_table,
        methods_notes,
        methods_table,
        on_test_table,
        pareto_table,
    )
    from droplora_sweep.present.terminal.tables import rates_table
    from droplora_sweep.run.deciding import (
        conclusion,
        confirmed,
        decide,
        on_test,
        references,
        winners_of,
    )

    decisions = [one for one in confirmed(ledger) if one.rates]
    if decisions:
        console.print(arms_table(decisions, references(ledger)))
    else:
        console.print(rates_table(decide(ledger), references(ledger)))
    if found := on_test(ledger):
        console.print(on_test_table(found, references(ledger, "test")))
    console.print(conclusion(ledger), highlight=False, soft_wrap=True)
    if adapters := adapters_text(winners_of(ledger)):
        console.print(adapters, highlight=False, soft_wrap=True)
    fields = compared_fields(ledger.record.spec)
    methods = compare_methods(ledger.search_records(), fields, ledger.scores)
    if methods is not None:
        console.print(methods_table(methods))
        for line in methods_notes(methods):
            console.print(line, highlight=False, soft_wrap=True)
    if objectives := ledger.record.spec["search"].get("objectives"):
        front = pareto_front(ledger.search_records(), objectives)
        console.print(pareto_table(front, objectives))


def print_answer(console: Console, facts: Facts) -> None:
    """A short verdict and one next command, last of all."""
    from droplora_sweep.present.report.answers import answers
    from droplora_sweep.present.report.headline import headline, next_step

    found = answers(facts)
    shown = headline(found)
    lines = [f"{shown.certainty.mark} {shown.advice}", shown.overall, next_step(facts, found).text]
    console.print()
    for line in filter(None, lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def resume_command(storage: Path, name: str) -> str:
    command = ["droplora-sweep", "resume", name]
    if storage.resolve() != DEFAULT_STORAGE.resolve():
        command += ["--storage", _shown(storage)]
    return shlex.join(command)


def sync_command(storage: Path, name: str) -> str:
    """What publishes a sweep to MLflow."""
    command = ["droplora-sweep", "sync", name]
    if storage.resolve() != DEFAULT_STORAGE.resolve():
        command += ["--storage", _shown(storage)]
    return shlex.join(command)


def _shown(storage: Path) -> str:
    name = storage_name(storage)
    return name if is_url(name) else os.path.relpath(storage)
