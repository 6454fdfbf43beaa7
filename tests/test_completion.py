"""Completion in a shell: what its script asks the program for is answered, and no more said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
VARIABLE = "_DROPLORA_SWEEP_COMPLETE"


@pytest.fixture
def complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """Completions of a line, as bash asks for those of its last word, in a folder with sweeps."""
    monkeypatch.chdir(tmp_path)
    for storage, name in (("results", "first"), ("results", "other"), ("elsewhere", "far")):
        folder = tmp_path / storage / name
        (folder / "trials" / f"t0000-{name}").mkdir(parents=True)
        (folder / "trials" / "c0001-abc").mkdir()
        (folder / "events.jsonl").touch()
    (tmp_path / "results" / "no-sweep").mkdir()

    def run(line: str) -> list[str]:
        monkeypatch.setenv(VARIABLE, "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        with pytest.raises(SystemExit) as end:
            main([])
        assert not end.value.code
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.split()

    return run


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("droplora-sweep ex", ["examples", "export"]),
        ("droplora-sweep status ", ["first", "other"]),
        ("droplora-sweep best fi", ["first"]),
        ("droplora-sweep best --storage elsewhere ", ["far"]),
        ("droplora-sweep compare first o", ["other"]),
        ("droplora-sweep export first t", ["t0000-first"]),
        ("droplora-sweep rerun other ", ["c0001-abc", "t0000-other"]),
        ("droplora-sweep retry first c", ["c0001-abc"]),
        ("droplora-sweep diff first c0001-abc t0", ["t0000-first"]),
        ("droplora-sweep examples paper/table5", ["paper/table5"]),
        ("droplora-sweep plan --gpu H", ["H100", "H200"]),
        ("droplora-sweep init --kind m", ["math"]),
        # Files are the shell's own.
        ("droplora-sweep validate ", []),
    ],
)
def test_a_word_is_completed(
    complete: Callable[[str], list[str]], line: str, found: list[str]
) -> None:
    assert complete(line) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_calls_the_command(shell: str) -> None:
    environment = {**os.environ, VARIABLE: f"source_{shell}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "droplora_sweep"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert VARIABLE in done.stdout
    assert "droplora-sweep" in done.stdout
