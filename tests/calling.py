"""A command in this process, for faults that are to be told before anything is started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import typer

from droplora_sweep.cli import main
from droplora_sweep.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path


COMMANDS = {*typer.main.get_command(app).list_commands(None), "--help"}

NEXT = re.compile(r"next: droplora-sweep (?P<words>[^\n]+)\n\Z", re.M)
"""The last line of every complaint that names no command itself: the one that helps next."""
BY_HAND = ("Usage: ", "interrupted by ", "the sweep failed: ", "no link to MLflow's comparison: ")
"""Beginnings of what is no error of this package's own: the last line of these says what to do."""


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, output and complaints of a command; a traceback fails the test by itself.

    Every complaint has to end with the command that helps next, which is checked, and left out.
    """
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    code, complaints = end.value.code, captured.err
    assert isinstance(code, int)
    return code, captured.out, without_next(complaints) if code in (1, 2) else complaints


def without_next(complaints: str) -> str:
    """The complaints without their last line, which has to be the command that helps next."""
    found = NEXT.search(complaints)
    if found is None:
        is_named = "droplora-sweep " in complaints or complaints.startswith(BY_HAND)
        assert is_named or not complaints, f"no command helps next: {complaints}"
        return complaints
    command = found["words"].split()[0]
    assert command in COMMANDS, f"no such command: {found[0]}"
    return complaints[: found.start()]


def without_advice(output: str) -> str:
    """The output of a command but for its advice on data that are small on purpose."""
    lines = output.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("advice: "))
