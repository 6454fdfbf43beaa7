"""Records that no reader can hold are one line each, or are left out where bad ones are."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import load, make_record, refusal

if TYPE_CHECKING:
    from pathlib import Path

GOOD = [json.dumps(make_record(index)) for index in range(6)]
LONG = "7" * 5_000
DEEP = "[" * 20_000 + "]" * 20_000
WALL = '{"a":' * 20_000 + "1" + "}" * 20_000


def with_field(name: str, text: str) -> str:
    """A record with a further field, or another value of one, as JSON text."""
    record = {field: value for field, value in make_record(9).items() if field != name}
    return json.dumps(record)[:-1] + f', "{name}": {text}}}'


UNREADABLE = {
    "half an emoji": (
        with_field("instruction", r'"is \ud83d odd?"'),
        r"instruction: must be text that UTF-8 can hold, got half a character, \ud83d",
    ),
    "half an emoji in an id": (
        with_field("id", r'"\udc00"'),
        r"id: must be text that UTF-8 can hold, got half a character, \udc00",
    ),
    "integer": (with_field("n", LONG), "n: must have at most 4,300 digits, got 5,000"),
    "negative integer": (with_field("n", f"-{LONG}"), "n: must have at most 4,300 digits, got "),
    "integer inside": (with_field("n", f'[{{"m": {LONG}}}]'), "n: must have at most 4,300 digits"),
    "integer for a text": (with_field("answer", LONG), "answer: must have at most 4,300 digits"),
    "deep list": (with_field("n", DEEP), "must be nested at most 100 levels deep, got more"),
    "deep object": (with_field("n", WALL), "must be nested at most 100 levels deep, got more"),
    "101 levels": (
        with_field("n", "[" * 101 + "]" * 101),
        "must be nested at most 100 levels deep, got more",
    ),
    "list for an id": (with_field("id", "[1]"), "id: must be text or a number, got [1]"),
    "null": ("null", "must be an object with instruction, output, answer, got null"),
    "list": (f"[{LONG}]", "record: must have at most 4,300 digits, got 5,000"),
}


@pytest.mark.parametrize("form", ["list", "lines"])
@pytest.mark.parametrize(("record", "problem"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_record(tmp_path: Path, form: str, record: str, problem: str) -> None:
    texts = [*GOOD[:3], record, *GOOD[3:]]
    file = tmp_path / "train.json"
    file.write_text("\n".join(texts) if form == "lines" else f"[{', '.join(texts)}]")
    place = f"{file}:4" if form == "lines" else f"{file}: record 4"
    own = {"data": str(file), "scoring": "choice", "options": ["true", "false"]}

    (line,) = refusal(benchmarks={"mine": own})
    assert line.startswith(f"task.benchmarks.mine.data: {place}: {problem}")
    task = load(benchmarks={"mine": own}, on_bad_record="skip")
    assert len(task.benchmarks[0].train) + len(task.benchmarks[0].validation) == len(GOOD)
    [note] = task.notes
    assert note.startswith(f"{file}: 1 bad records are left out, the first: {place}: {problem}")


def test_a_record_as_deep_as_allowed_is_read(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    file.write_text(f"[{', '.join([*GOOD, with_field('n', '[' * 99 + ']' * 99)])}]")
    own = {"data": str(file), "scoring": "choice", "options": ["true", "false"]}
    assert len(load(benchmarks={"mine": own}).benchmarks[0].train) == 5


def test_what_is_deep_and_no_list_has_no_records(tmp_path: Path) -> None:
    file = tmp_path / "train.json"
    file.write_text(WALL)
    own = {"data": str(file), "scoring": "exact"}
    for policy in ("refuse", "skip"):
        assert refusal(benchmarks={"mine": own}, on_bad_record=policy) == [
            f"task.benchmarks.mine.data: {file}: must be nested at most 100 levels deep, got more"
        ]


def test_a_file_of_its_own_that_is_unreadable(tmp_path: Path) -> None:
    for index in range(6):
        problem = {"problem": f"{index}?", "solution": f"\\boxed{{{index}}}"}
        write(tmp_path / "math" / "train" / f"{index}.json", json.dumps(problem))
    bad = tmp_path / "math" / "train" / "3.json"
    for text, problem in (
        ("{", ":1: must be JSON: Expecting property name enclosed in double quotes"),
        (DEEP, ": must be nested at most 100 levels deep, got more"),
        (f'{{"problem": {LONG}}}', ": problem: must have at most 4,300 digits, got 5,000"),
        (b"\xff", ":1: must be UTF-8 text, got the byte 0xff: invalid start byte"),
    ):
        write(bad, text)
        line = f"task.data: {bad}{problem}"
        assert refusal(benchmarks=["math"], data=str(tmp_path)) == [line]
        task = load(benchmarks=["math"], data=str(tmp_path), on_bad_record="skip")
        assert len(task.benchmarks[0].train) == 3


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def mbpp(index: int, **changes: Any) -> dict[str, Any]:
    record = {
        "text": f"Add {index}.",
        "code": f"def add(x):\n    return x + {index}",
        "task_id": 600 + index,
        "test_list": [f"assert add(1) == {index + 1}"],
    }
    return record | changes


NULLS = {
    "setup": ({"test_setup_code": None}, "assert add(1) == 1"),
    "no setup": ({}, "assert add(1) == 1"),
    "empty setup": ({"test_setup_code": ""}, "assert add(1) == 1"),
    "challenges": ({"challenge_test_list": None}, "assert add(1) == 1"),
    "imports": ({"test_imports": ["import math"]}, "import math\nassert add(1) == 1"),
    "no imports": ({"test_imports": None}, "assert add(1) == 1"),
}


@pytest.mark.parametrize(("changes", "answer"), NULLS.values(), ids=NULLS.keys())
def test_what_mbpp_may_lack(tmp_path: Path, changes: dict[str, Any], answer: str) -> None:
    records = [mbpp(0, task_id=11, **changes), *(mbpp(index) for index in range(1, 7))]
    write(tmp_path / "mbpp" / "mbpp.jsonl", "\n".join(map(json.dumps, records)))
    (mbpp_benchmark,) = load(benchmarks=["mbpp"], data=str(tmp_path)).benchmarks
    assert [one.answer for one in mbpp_benchmark.test()] == [answer]
    assert (len(mbpp_benchmark.train), len(mbpp_benchmark.validation)) == (4, 2)


NO_MBPP = {
    "text": ({"text": None}, "text: must be text, got null"),
    "tests": ({"test_list": None}, "test_list: must be a list, got null"),
    "a test": ({"test_list": [None]}, "test_list: must be texts, got [null]"),
    "no test": ({"test_list": []}, "test_list: must not be empty"),
    "setup": ({"test_setup_code": 3}, "test_setup_code: must be text, got 3"),
    "an import": ({"test_imports": [1]}, "test_imports: must be texts, got [1]"),
    "brackets": (
        {"test_list": [f"assert {'(' * 9_000}1{')' * 9_000}"]},
        "answer: must be Python tests, got 'assert ((((",
    ),
    "operators": (
        {"test_list": [f"assert {'-' * 99_999}1"]},
        "answer: must be Python tests, got 'assert ---",
    ),
}


@pytest.mark.parametrize(("changes", "problem"), NO_MBPP.values(), ids=NO_MBPP.keys())
def test_what_mbpp_must_have(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    records = [*(mbpp(index) for index in range(1, 7)), mbpp(7, **changes)]
    file = tmp_path / "mbpp" / "mbpp.jsonl"
    write(file, "\n".join(map(json.dumps, records)))
    lines = refusal(benchmarks=["mbpp"], data=str(tmp_path))
    assert len(lines) == 1
    assert lines[0].startswith(f"task.data: {file}:7: {problem}")
    task = load(benchmarks=["mbpp"], data=str(tmp_path), on_bad_record="skip")
    assert len(task.benchmarks[0].train) == 4


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="older than the limit of its own")
def test_a_deep_record_is_bad_whatever_the_stack_of_the_reader(tmp_path: Path) -> None:
    """600 levels are within Python's own limit here, and above it deeper in a program."""
    file = tmp_path / "train.json"
    file.write_text(f"[{', '.join([*GOOD, with_field('n', '[' * 600 + ']' * 600)])}]")
    own = {"data": str(file), "scoring": "choice", "options": ["true", "false"]}

    def at_depth(depth: int) -> list[str]:
        return refusal(benchmarks={"mine": own}) if depth == 0 else at_depth(depth - 1)

    assert at_depth(0) == at_depth(450)
