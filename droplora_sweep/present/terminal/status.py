"""A sweep's status on a terminal: trials, stage and who works on it; once, or as it changes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from droplora_sweep.errors import SweepError
from droplora_sweep.present.contents.trials import trials_notes, trials_tables
from droplora_sweep.present.values import command_text, plural, storage_text
from droplora_sweep.records.trial import SweepOutcome

from .pace import hindsight_lines, running_text
from .tables import terminal_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from droplora_sweep.ledger.following import Follower, Look
    from droplora_sweep.ledger.lease import Holder
    from droplora_sweep.ledger.progress import LiveProgress
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.contents.table import Table


@dataclass(frozen=True)
class Status:
    """A sweep as `status` shows it.

    Attributes:
        tables: Its trials.
        notes: Lines on the trials.
        ends: Its stage, and who works on it or how it ended; a line each.
        is_running: True while a driver works on it.
    """

    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    ends: tuple[str, ...]
    is_running: bool


def status_of(
    ledger: Ledger, holder: Holder | None, live: LiveProgress | None, stage: str | None
) -> Status:
    """Return the status of a sweep in any state.

    Args:
        ledger: The sweep's.
        holder: The driver that works on it, None where none does.
        live: What the driver last said.
        stage: As `stage_of` has it.
    """
    record = ledger.record
    is_live = holder is not None
    ends = (stage, state_text(ledger, holder, live))
    return Status(
        tables=tuple(trials_tables(record, is_live=is_live, live=live)),
        notes=(*trials_notes(record), *hindsight_lines(record)),
        ends=tuple(f"{record.name}: {line}" for line in ends if line is not None),
        is_running=is_live,
    )


def state_text(ledger: Ledger, holder: Holder | None, live: LiveProgress | None) -> str:
    """Return who works on a sweep and for how long, or how it ended."""
    record = ledger.record
    if holder is not None:
        return f"running on {holder}, {running_text(live)}"
    if record.outcome in (SweepOutcome.COMPLETE, SweepOutcome.FAILED):
        return record.outcome.lower() + (f", {record.reason}" if record.reason else "")
    why = record.reason or "its driver died"
    command = command_text("resume", record.name, storage=storage_text(ledger.storage))
    return f"interrupted, {why}; resumable: {command}"


def stage_of(ledger: Ledger) -> str | None:
    """Return how far a sweep with a confirmation is; None for one without."""
    record = ledger.record
    if record.spec.get("confirm") is None:
        return None
    if not record.confirm_trials:
        return "stage: search"
    # The statistics take seconds to import, which a search alone does not cost.
    from droplora_sweep.run.deciding import stage_text

    return stage_text(ledger)


def watch_status(
    follower: Follower,
    console: Console,
    show: Callable[[Status], None],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Show a sweep's status until no driver works on it.

    On a terminal it is one view that changes; elsewhere a block each time that something happened.

    Args:
        follower: The sweep's.
        console: Place to show it.
        show: Prints a status that stays.
        pause: Waits for so many seconds.

    Raises:
        SweepError: The sweep cannot be read at the first look; later the last status stays.
    """
    watching = _Watching(follower)
    status = watching.look()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while status.is_running:
                live.update(_view(status, console.height), refresh=True)
                pause(follower.poll_s)
                status = watching.look()
        show(status)
        return
    show(status)
    while status.is_running:
        shown = watching.happened
        pause(follower.poll_s)
        status = watching.look()
        if watching.happened != shown:
            show(status)


class _Watching:
    """The status at each look, which is worked out only where something has changed.

    Attributes:
        happened: Equal at two looks between which nothing happened; steps alone are no event.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._num_events = 0
        self._last: Look | None = None
        self._stage: str | None = None
        self.happened: object = None

    def look(self) -> Status:
        problem = None
        try:
            look = self._follower.look()
        except SweepError as error:
            if self._last is None:
                raise
            look, problem = replace(self._last, new=()), str(error)
        if self._last is None or look.new:
            self._num_events += len(look.new)
            self._stage = stage_of(look.ledger)
        self._last = look
        self.happened = (self._num_events, look.holder is None, problem)
        status = status_of(look.ledger, look.holder, look.live, self._stage)
        if problem is not None:
            status = replace(status, ends=(*status.ends, f"not as of now: {problem}"))
        return status


ROWS_AROUND = 7
"""Lines of a table that are no trial: title, head, frame, notes."""
LEAST_ROWS = 3


def _view(status: Status, height: int) -> Group:
    """Return what fits a terminal: its end first, then the latest trials of each table."""
    room = height - len(status.ends) - len(status.notes)
    most = max(LEAST_ROWS, room // max(1, len(status.tables)) - ROWS_AROUND)
    lines = [Text(line) for line in (*status.ends, *status.notes)]
    return Group(*lines, *(terminal_table(_latest(table, most)) for table in status.tables))


def _latest(table: Table, most: int) -> Table:
    """Return a table with its last rows, and the number of the others."""
    hidden = len(table.rows) - most
    if hidden <= 0:
        return table
    title = f"{table.title}; {plural(hidden, 'earlier row')} not shown"
    return replace(table, title=title, rows=table.rows[-most:])
