"""A sweep's ledger as it was after each of its events."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from droplora_sweep.ledger.log import read_events
from droplora_sweep.records.layout import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Call = "Callable[..., tuple[int, str, str]]"

NOTHING_YET = ("has no adapter to register yet", "has no trial to export for", "is complete (")
"""Messages of commands that have nothing to work on, one line each."""


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
    shown = answer_or_say_why_not(call, "best", name, *at)
    as_json = answer_or_say_why_not(call, "best", name, "--json", *at)
    winners = json.loads(as_json)["benchmarks"] if as_json else []
    for winner in winners[:1]:
        line = answer_or_say_why_not(call, "best", name, "--task", winner["benchmark"], *at)
        assert line.startswith(f"{winner['benchmark']}: ")
    for winner in winners:
        if winner["trial"] is not None:
            assert f"{winner['benchmark']} {winner['trial']} (p = " in shown


def export_what_is_best(call: Call, storage: Path, name: str, scratch: Path) -> None:
    """Export the adapter of each answer, which is that of the trial that `best` names."""
    at = ("--storage", storage)
    as_json = answer_or_say_why_not(call, "best", name, "--json", *at)
    for winner in json.loads(as_json)["benchmarks"] if as_json else []:
        task = winner["benchmark"]
        output = scratch / f"{name}-{task}"
        printed = answer_or_say_why_not(
            call, "export", name, "--task", task, "--output", output, *at
        )
        assert printed.startswith(f"{winner['trial']}: ") or winner["trial"] is None
        shutil.rmtree(output, ignore_errors=True)


def show_elsewhere(call: Call, storage: Path, name: str, whole: Path) -> None:
    """Report on it, compare it with what became of it, and publish it."""
    at = ("--storage", storage)
    for command in (
        ("report", name),
        ("compare", name, f"{whole}/{name}"),
        ("sync", name),
    ):
        code, printed, complaints = call(*command, *at)
        assert code == 0, complaints
        assert printed, command
    # It has something to compare, or says in one line what is missing.
    code, printed, complaints = call("diff", name, "p=0", "p=0.2", *at)
    assert (code, complaints.count("\n")) in ((0, 0), (2, 1)), complaints
