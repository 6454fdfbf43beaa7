"""The one command that a reader of an answer runs next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.records.layout import SPEC
from droplora_sweep.records.trial import SweepOutcome

from .answers import Certainty

if TYPE_CHECKING:
    from .answers import Answer
    from .facts import Facts

DEFAULT_STORAGE = "results"


@dataclass(frozen=True)
class NextStep:
    """What to run, and what it does."""

    command: str
    purpose: str

    @property
    def text(self) -> str:
        """One line."""
        return f"next: {self.command} ({self.purpose})"


def next_step(facts: Facts, answers: tuple[Answer, ...]) -> NextStep:
    """Go on, settle what is open, or take the adapter out, whichever is due.

    Args:
        facts: The sweep's.
        answers: The mean's first, where there are several benchmarks.
    """
    record, storage = facts.record, facts.storage
    if facts.is_live:
        command = _command(storage, "status", record.name)
        return NextStep(command, "shows how far the sweep is")
    if record.outcome in (None, SweepOutcome.INTERRUPTED):
        command = _command(storage, "resume", record.name)
        return NextStep(command, "goes on where it was interrupted")
    kinds = {one.certainty for one in answers}
    if kinds == {Certainty.NOTHING}:
        epochs = 2 * record.spec["training"]["epochs"]
        name = ["--name", f"{record.name}-longer"]
        command = _again(storage, record.name, name, [f"training.epochs={epochs}"])
        return NextStep(command, "trains twice as long, as a sweep of its own")
    if answers[0].pruning_rate is None:
        command = _command(storage, "status", record.name)
        return NextStep(command, "shows what became of each trial")
    if Certainty.OPEN in kinds:
        confirm = record.spec["confirm"]
        most = 2 * max(confirm.get("max_seeds") or 0, confirm["seeds"])
        settings = [f"confirm.max_seeds={most}"]
        if confirm.get("max_runs"):
            settings.append("confirm.max_runs=null")
        command = _again(storage, record.name, ["--fork", f"{record.name}-more"], settings)
        purpose = f"takes over what is trained, and adds seeds, up to {most}, where it is open"
        return NextStep(command, purpose)
    can_confirm = any(one.pruned is not None for one in facts.decisions)
    if Certainty.HINT in kinds and can_confirm and not facts.record.confirm_trials:
        command = _again(storage, record.name, [], ["confirm={examples: validation}"])
        purpose = "trains the best settings and p = 0 again with new seeds, and decides"
        return NextStep(command, purpose)
    task = answers[0].subject
    output = f"{record.name}-{task}"
    command = _command(storage, "export", record.name, "--task", task, "--output", output)
    return NextStep(command, "writes the adapter to use")


def _again(storage: str, name: str, options: list[str], settings: list[str]) -> str:
    """Run the sweep's own file again with other settings."""
    file = str(PurePosixPath(storage) / name / SPEC)
    words = ["droplora-sweep", "run", file, *options]
    return shlex.join([*words, *(part for each in settings for part in ("--set", each))])


def _command(storage: str, *words: str) -> str:
    where = [] if storage == DEFAULT_STORAGE else ["--storage", storage]
    return shlex.join(["droplora-sweep", *words, *where])
