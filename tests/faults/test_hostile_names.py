"""Names that would reach outside their folder, deceive the eye, or run in a shell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.calling import call

from .table import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.faults

HOSTILE = {
    "path traversal": "../outside",
    "parent": "..",
    "itself": ".",
    "empty": "",
    "absolute": "/etc/passwd",
    "nested": "a/b",
    "backslashes": "..\\outside",
    "percent-encoded": "%2e%2e%2foutside",
    "home": "~root",
    "hidden": ".hidden",
    "option": "-rf",
    "long option": "--help",
    "300 characters": "a" * 300,
    "right-to-left": "q\u202egnp.lmay",
    "zero width": "q\u200bq",
    "full width": "\uff51",
    "Cyrillic": "qu\u0456ckstart",
    "combining": "e\u0301",
    "line break": "a\nb",
    "escape code": "a\x1b[31mb",
    "blank": "a b",
    "command": "$(touch pwned)",
    "backticks": "`touch pwned`",
    "pipeline": "a; touch pwned",
    "wildcard": "*",
    "quotes": "a'b\"c",
}
RESERVED = ("mlartifacts", "mlflow.db")
RULES = ("must ", "is not valid YAML: ")
COMMANDS = ("status", "best", "stop", "resume", "sync")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder in which commands are called; it and its surroundings are the same afterwards."""
    own = tmp_path / "own"
    own.mkdir()
    # Without code answers: those ask for a sandbox before anything else.
    (own / "s.yaml").write_text("name: q\ntask: {benchmarks: [builtin_choice]}\n")
    monkeypatch.chdir(own)
    yield own
    assert {path.name for path in tmp_path.iterdir()} == {"own"}, "nothing was written outside"
    assert not (own / "pwned").exists(), "no shell has seen it"


def attempts(index: int, name: str) -> Iterator[tuple[str, ...]]:
    """Every way to give a name; of the commands that read a sweep, one after the other."""
    text = json.dumps(name)
    yield "run", "s.yaml", f"--name={name}"
    yield "run", "s.yaml", f"--fork={name}"
    yield "run", "s.yaml", "--set", f"task.name={text}"
    yield "run", "s.yaml", "--set", f"task.benchmarks={{{text}: null}}"
    yield COMMANDS[index % len(COMMANDS)], "--", name


def test_hostile_names_are_refused_in_a_line_wherever_they_are_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    with recorded("hostile names of sweeps, tasks and benchmarks") as row:
        for index, name in enumerate(HOSTILE.values()):
            for arguments in attempts(index, name):
                code, output, complaint = call(capsys, *arguments)
                row.injected += 1
                is_told = complaint.count("\n") == 1 and any(why in complaint for why in RULES)
                is_clean = complaint.rstrip("\n").isprintable()
                if code not in (1, 2) or output or not is_told or not is_clean:
                    wrong.append((arguments, code, output, complaint))
        row.result = "one clear line each" if not wrong else f"{len(wrong)} wrong: {wrong[0]}"
    assert wrong == []
    assert [path.name for path in folder.iterdir()] == ["s.yaml"], "nothing was begun"


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_what_lies_beside_sweeps_are_no_sweeps(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with recorded(f"reserved name {name}") as row:
        rule = f"name: must not be one of mlartifacts, mlflow.db, got {name}\n"
        for verb in ("run", "validate"):
            code, _, complaint = call(capsys, verb, "s.yaml", "--set", f"name={name}")
            assert (code, complaint) == (2, f"--set name={name}: {rule}")
            row.injected += 1
        row.result = complaint.strip()
    assert [path.name for path in folder.iterdir()] == ["s.yaml"], "nothing was begun"


STORAGES = {
    "empty": "",
    "an option": "-x",
    "a file": "s.yaml",
    "below a file": "s.yaml/below",
    "a device": "/dev/null",
    "a process": "/proc/self/results",
    "300 characters": "a" * 300,
    "a command": "$(touch pwned)",
    "no bucket": "s3://",
    "another protocol": "ftp://host/sweeps",
}


@pytest.mark.slow
def test_hostile_storages_are_refused_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    with recorded("hostile --storage") as row:
        for storage in STORAGES.values():
            for arguments in (("status", "q"), ("stop", "q"), ("resume", "q"), ("ui",)):
                code, output, complaint = call(capsys, *arguments, f"--storage={storage}")
                row.injected += 1
                is_told = complaint.count("\n") == 1 and complaint.rstrip("\n").isprintable()
                if code not in (1, 2) or output or not is_told:
                    wrong.append((arguments, storage, code, output, complaint))
        row.result = "one clear line each" if not wrong else f"{len(wrong)} wrong: {wrong[0]}"
    assert wrong == []
    assert [path.name for path in folder.iterdir()] == ["s.yaml"], "nothing was begun"


PATHS = {
    "300 characters": "a" * 300,
    "300 characters below": f"./{'a' * 300}/x",
    "null byte": "a\0b",
    "lone surrogate": "a\ud800b",
    "unknown home": "~nobody-of-that-name/x",
    "an option": "-x",
    "a command": "$(touch pwned)",
}


def test_hostile_paths_in_a_file_are_refused_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = []
    with recorded("hostile paths of models and data") as row:
        for path in PATHS.values():
            text = json.dumps(path)
            for override in (
                f"model.path={text}",
                f"task.data={text}",
                f"task.benchmarks={{boolq: {{data: {text}}}}}",
                f"task.train={{name: metamathqa, data: {text}}}",
                f"evaluation.held_out_text={text}",
            ):
                code, output, complaint = call(capsys, "run", "s.yaml", "--set", override)
                row.injected += 1
                is_told = complaint.count("\n") == 1 and complaint.rstrip("\n").isprintable()
                if code != 2 or output or not is_told:
                    wrong.append((override, code, output, complaint))
        row.result = "one clear line each" if not wrong else f"{len(wrong)} wrong: {wrong[0]}"
    assert wrong == []
    assert [path.name for path in folder.iterdir()] == ["s.yaml"], "nothing was begun"


def test_a_storage_that_no_file_system_can_hold_is_refused_in_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, complaint = call(capsys, "run", "s.yaml", "--set", f"storage={'a' * 300}")
    assert code == 2
    assert complaint.endswith(": storage: must have names of at most 255 bytes, got 300\n")
    code, _, complaint = call(capsys, "run", "s.yaml", "--set", 'storage="a\\0b"')
    assert code == 2
    assert complaint.endswith(": storage: must not contain the character U+0000\n")


def test_a_url_without_a_bucket_is_refused_before_a_name_is_taken_for_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, complaint = call(capsys, "status", "q", "--storage=s3://")
    assert (code, complaint) == (
        1,
        "storage: must name a bucket or a folder after ://, got s3://\n",
    )
