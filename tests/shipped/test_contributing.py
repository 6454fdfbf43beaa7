"""Each walk of CONTRIBUTING.md, applied to a copy of the repository, does what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

ROOT = Path(__file__).parents[2]
WALKS = {
    "A LoRA variant": "quickstart: lora_fa on builtin_noisy",
    "A benchmark": "valid",
    "A scoring": "valid",
    "A sampler": "valid",
    "A column of the report": "evaluations",
}
"""A part of the last output of each walk, before it trains anything."""

BLOCK = re.compile(r"(?:`([\w/.]+)`:\n\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
"""A block of code, its language, and the file that it is, where the text above names one."""


def _walks() -> dict[str, str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = re.split(r"^### (.+)$", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _change(tree: Path, difference: str) -> None:
    """Apply a difference whose hunks are found by their lines, not by their numbers."""
    for part in re.split(r"^--- a/.*\n", difference, flags=re.M)[1:]:
        name, _, hunks = part.partition("\n")
        file = tree / name.removeprefix("+++ b/")
        text = file.read_text(encoding="utf-8")
        for hunk in hunks.split("@@\n")[1:]:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] != "+")
            after = "".join(line[1:] for line in lines if line[0] != "-")
            assert text.count(before) == 1, f"{name} has {text.count(before)} times:\n{before}"
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that git has."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    copy = tmp_path / "copy"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


def _run(command: str, tree: Path) -> str:
    words = shlex.split(command)
    if words == ["make", "schema"]:
        recipe = (tree / "Makefile").read_text(encoding="utf-8").split("\nschema:")[1]
        code = re.search(r'-c "(.*?)" > (\S+)', recipe, re.S)
        assert code is not None
        script, target = code[1].replace("\\\n", ""), tree / code[2]
        words = [sys.executable, "-c", script]
        target.write_text(_output(words, tree), encoding="utf-8")
        return ""
    modules = {"droplora-sweep": "droplora_sweep", "pytest": "pytest"}
    if words[0] in modules:
        words = [sys.executable, "-m", modules[words[0]], *words[1:]]
    return _output(words, tree)


def _output(words: list[str], tree: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        words, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stdout[-2000:] + done.stderr[-2000:])
    return done.stdout


def test_every_walk_is_tried() -> None:
    assert list(_walks()) == list(WALKS)


def _apply(title: str, tree: Path) -> list[str]:
    """Change the copy as a walk says; return the walk's commands."""
    walks = _walks()
    # The scoring is tried on the benchmark of the walk before.
    texts = [walks["A benchmark"], walks[title]] if title == "A scoring" else [walks[title]]
    commands: list[str] = []
    for text in texts:
        for name, language, content in BLOCK.findall(text):
            if language == "diff":
                _change(tree, content)
            elif language:
                assert not (tree / name).exists(), name
                (tree / name).write_text(content, encoding="utf-8")
            else:
                commands = content.splitlines()
    return commands


def _trains(command: str) -> bool:
    return command.startswith("droplora-sweep run ")


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_does_what_it_says(title: str, tree: Path) -> None:
    commands = _apply(title, tree)
    printed = [_run(command, tree) for command in commands if not _trains(command)]
    assert WALKS[title] in printed[-1], printed[-1]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_variant_of_a_walk_is_trained(tree: Path) -> None:
    [command] = filter(_trains, _apply("A LoRA variant", tree))
    _run(f"{command} --address local", tree)
    trials = Ledger.open(tree / "results", "quickstart").search_records()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert {trial.spec["adapter"]["method"] for trial in trials} == {"lora_fa"}
