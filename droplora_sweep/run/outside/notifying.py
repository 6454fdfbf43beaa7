"""A note on the end of a run, to a program or a webhook; one that fails never fails the sweep."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import requests

from droplora_sweep.errors import DropLoRASweepError
from droplora_sweep.records.layout import REPORT_PAGE
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.redaction import redact
from droplora_sweep.run.deciding import conclusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.run.ending import Ending
    from droplora_sweep.spec import NotifySpec

logger = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 60.0
WEBHOOK_TIMEOUT_S = 15.0
"""A driver that ends is not held up longer by those who want to know."""
_HTTP_OK = 300


@dataclass(frozen=True, kw_only=True)
class Note:
    """A note, as a program reads it and a webhook gets it: JSON with these names.

    Attributes:
        sweep: Name of the sweep.
        outcome: ``complete``, ``interrupted`` or ``failed``.
        reason: The reason of an early end; None where there is none.
        answer: The rates to use, in sentences; None where nothing can be said yet.
        complete: Trials that are complete, those of the confirmation included.
        failed: Trials that have failed.
        storage: Where the sweep is.
        report: Page of the report; None where there is none.
        next: The command that goes on from here.
        text: All of it in a few lines, by the name under which chat services look for it.
    """

    sweep: str
    outcome: str
    reason: str | None
    answer: str | None
    complete: int
    failed: int
    storage: str
    report: str | None
    next: str
    text: str


def note_on(ledger: Ledger, ending: Ending) -> Note:
    """Return the note on the end of a run, without a secret."""
    record, states = ledger.record, [trial.state for trial in ledger.records()]
    try:
        answer = conclusion(ledger)
    except DropLoRASweepError:
        answer = None
    page = ledger.summary_directory / REPORT_PAGE
    outcome = ending.outcome.lower()
    complete = states.count(TrialState.COMPLETE)
    failed = states.count(TrialState.FAILED)
    command = "report" if ending.outcome is SweepOutcome.COMPLETE else "resume"
    following = f"droplora-sweep {command} {record.name} --storage {ledger.storage}"
    counts = f"{complete} trials complete, {failed} failed"
    because = f": {ending.reason}" if ending.reason else ""
    lines = [f"sweep {record.name} {outcome}{because} ({counts})", answer, f"next: {following}"]
    return Note(
        sweep=record.name,
        outcome=outcome,
        reason=ending.reason and redact(ending.reason),
        answer=answer and redact(answer),
        complete=complete,
        failed=failed,
        storage=redact(str(ledger.storage)),
        report=str(page) if page.is_file() else None,
        next=redact(following),
        text=redact("\n".join(filter(None, lines))),
    )


def tell_of_end(
    ledger: Ledger, spec: NotifySpec, say: Callable[[str], None], ending: Ending
) -> None:
    """Give a note on the end of a run to those who are to have it.

    Args:
        ledger: The sweep's.
        spec: Who they are.
        say: Shows the user one line, where a note cannot be given.
        ending: The end.
    """
    is_wanted = spec.command or spec.webhook_env is not None
    if not is_wanted or ending.outcome.lower() not in spec.on:
        return
    content = json.dumps(asdict(note_on(ledger, ending))).encode()
    if spec.command and (problem := _run(spec.command, content)) is not None:
        say(f"tracking.notify.command: {problem}")
    if spec.webhook_env is not None and (problem := _post(spec.webhook_env, content)) is not None:
        say(f"tracking.notify.webhook_env: {problem}")


def _run(command: tuple[str, ...], content: bytes) -> str | None:
    """Run a program with the note on its standard input; return why that failed."""
    try:
        done = subprocess.run(
            command,
            input=content,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"must end within {COMMAND_TIMEOUT_S:.0f} s, got {command[0]}, which was ended"
    except OSError as error:
        return f"must be a program that can be started, got {command[0]}: {error.strerror}"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    return f"{command[0]} ended with {done.returncode}: {redact(said[-1])}"


def _post(variable: str, content: bytes) -> str | None:
    """Post the note to the URL in a variable, which is a secret; return why that failed."""
    url = os.environ.get(variable)
    if not url:
        return f"must name a variable of the driver with a URL, got {variable}, which is not set"
    try:
        answer = requests.post(
            url,
            data=content,
            headers={"Content-Type": "application/json"},
            timeout=WEBHOOK_TIMEOUT_S,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        # Its text has the URL.
        return f"the URL in {variable} does not answer: {type(error).__name__}"
    if answer.status_code < _HTTP_OK:
        return None
    return f"the URL in {variable} answers with {answer.status_code} {answer.reason}"
