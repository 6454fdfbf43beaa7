"""A sweep's ledger as it was after each of its events."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from droplora_sweep.tracking import Ledger
from droplora_sweep.tracking.event_log import read_events
from droplora_sweep.tracking.layout import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Call = "Callable[..., tuple[int, str, str]]"

NOTHING_YET = ("has no adapter to register yet", "no trial to export", "is complete")
"""What a command that has nothing to work on says, in one line."""


def prefixes(storage: Path, name: str, scratch: Path) -> Iterator[tuple[int, Path]]:
    """A storage whose sweep ends after its first, second, … event, and the number of events.

    Other files are as in the end: each is written before the event that mentions it.
    """
    copy = scratch / f"{name}-prefixes"
    shutil.copytree(storage, copy, dirs_exist_ok=True)
    log = copy / name / EVENTS
    lines = log.read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        log.write_bytes(b"".join(lines[:number]))
        yield number, copy


def turning_points(storage: Path, name: str) -> set[int]:
    """The numbers of events after which something is there for the first time, and the last."""
    seen: set[tuple[object, ...]] = set()
    numbers = set()
    events = read_events(storage / name / EVENTS).events
    stages: dict[str | None, object] = {}
    for number, event in enumerate(events, start=1):
        if "stage" in event.payload:
            stages[event.trial_id] = event.payload["stage"]
        kind = (event.kind, stages.get(event.trial_id), event.payload.get("state"))
        if kind not in seen:
            numbers.add(number)
        seen.add(kind)
    return numbers | {len(events)}


def answer_or_say_why_not(call: Call, *arguments: object) -> str:
    """Run a command, which succeeds or says in one line that there is nothing yet."""
    code, printed, complaints = call(*arguments)
    if code != 0:
        assert code == 1, (arguments, code, complaints)
        assert complaints.count("\n") == 1, complaints
        assert any(words in complaints for words in NOTHING_YET), complaints
    return printed


def read_everything(call: Call, storage: Path, name: str) -> None:
    """Run each command that only reads a ledger."""
    at = ("--storage", storage)
    code, printed, complaints = call("status", name, *at)
    assert (code, complaints) == (0, ""), complaints
    assert f"{name}: " in printed
    answer_or_say_why_not(call, "best", name, *at)
    answer_or_say_why_not(call, "best", name, "--json", *at)
    answer_or_say_why_not(call, "best", name, "--task", "builtin_choice", *at)


def export_all(call: Call, storage: Path, name: str, scratch: Path) -> None:
    """Export the winner of one benchmark and, where there are several, that of their mean."""
    benchmarks = Ledger.open(storage, name).record.spec["task"]["benchmarks"]
    for task in (benchmarks[0], *(["mean"] if len(benchmarks) > 1 else [])):
        output = scratch / f"{name}-{task}"
        answer_or_say_why_not(
            call, "export", name, "--task", task, "--output", output, "--storage", storage
        )
        shutil.rmtree(output, ignore_errors=True)
