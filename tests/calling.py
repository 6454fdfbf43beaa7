"""A command in this process, for faults that are to be told before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, output and complaints of a command; a traceback fails the test by itself."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, captured.out, captured.err


def without_advice(output: str) -> str:
    """The output of a command but for its advice on data that are small on purpose."""
    lines = output.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("advice: "))
