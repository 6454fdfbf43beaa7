"""A task of one's own needs data alone; each fault of it is one line."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.scorers.choice import ChoiceScorer
from droplora_sweep.scorers.text import ExactScorer
from droplora_sweep.tasks.task import render_prompt, split_sizes

from .conftest import load, make_record, refusal

if TYPE_CHECKING:
    from pathlib import Path


def write_lines(path: Path, records: list[Any]) -> str:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


QUESTIONS = [{"question": f"is {index} odd?", "label": "ab"[index % 2]} for index in range(10)]
MINE = {
    "scoring": "choice",
    "options": ["a", "b"],
    "prompt_suffix": "\n",
    "max_new_tokens": 8,
    "fields": {"instruction": "question", "answer": "label"},
}


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.jsonl.gz"])
def test_a_benchmark_of_ones_own_is_a_file_and_its_spec(tmp_path: Path, name: str) -> None:
    data = write_lines(tmp_path / name, QUESTIONS)
    task = load(benchmarks={"mine": {"data": data, **MINE}}, prompt="Q: {instruction}\nA:")
    (mine,) = task.benchmarks

    assert split_sizes(task)["mine"] == {"train": 8, "validation": 2, "test": 0, "left_out": 0}
    assert (mine.scorer, mine.max_new_tokens) == (ChoiceScorer(options=("a", "b")), 8)
    example = mine.train[0]
    assert example.output == example.answer
    assert mine.render_prompt(example) == f"Q: {example.instruction}\nA:\n"
    assert render_prompt(example).startswith("Below is an instruction")


def test_a_folder_has_a_file_per_split(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", QUESTIONS[:6])
    write_lines(tmp_path / "test.jsonl", QUESTIONS[6:])
    task = load(benchmarks={"mine": {"data": str(tmp_path), **MINE}})

    assert split_sizes(task)["mine"] == {"train": 4, "validation": 2, "test": 4, "left_out": 0}
    assert len(task.benchmarks[0].test()) == 4


MIXTURES = {
    "commonsense_170k": (
        [make_record(index) for index in range(9)],
        ("is 1 odd", "the correct answer is true"),
    ),
    "metamathqa": (
        [
            {
                "query": f"what is {index}+1?",
                "response": f"it is {index + 1}. The answer is: {index + 1}",
                "type": "GSM_Rephrased" if index else "MATH_AnsAug",
                "original_question": "x",
            }
            for index in range(9)
        ],
        ("what is 1+1?", "it is 2. The answer is: 2"),
    ),
    "codefeedback_python": (
        [
            {"query": f"add {index}", "answer": "x", "lang": "python", "resource": "r"}
            for index in range(9)
        ]
        + [{"query": "add in C", "answer": "x", "lang": "cpp", "resource": "r"}],
        ("add 1", "x"),
    ),
    "evol_instruct": (
        [
            {
                "idx": str(index),
                "conversations": [
                    {"from": "human", "value": f"say {index}"},
                    {"from": "gpt", "value": f"{index}!"},
                ],
            }
            for index in range(9)
        ],
        ("say 1", "1!"),
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_published_mixture_is_trained_on(tmp_path: Path, name: str) -> None:
    records, (asked, output) = MIXTURES[name]
    data = write_lines(tmp_path / "train.jsonl", records)
    task = load(benchmarks=["builtin_math"], train={"name": name, "data": data})

    assert task.mixture is not None
    assert len(task.mixture.train) == 9
    assert split_sizes(task)[name] == {"train": 9, "left_out": 0}
    assert any(asked in one.instruction and one.output == output for one in task.mixture.train)
    digests = ["builtin_math/train", "builtin_math/validation", f"{name}/train"]
    has_own_prompt = name in ("codefeedback_python", "evol_instruct")
    assert sorted(task.digests) == sorted(digests + [f"{name}/prompt"] * has_own_prompt)
    assert task.benchmarks[0].train == ()
    assert all(source is task.mixture for source, _ in task.training_examples())
    (note,) = task.notes
    assert note.startswith(f"{data}: has 9 train examples, ")


def test_a_mixture_validates_what_its_answers_suit(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "meta.jsonl", MIXTURES["metamathqa"][0])
    test = write_lines(tmp_path / "gsm.jsonl", [{"question": "what  is 3+1?", "answer": "#### 4"}])
    gsm8k = {"gsm8k": {"data": test, "split": "test", "format": "gsm8k"}}
    task = load(benchmarks=gsm8k, train={"name": "metamathqa", "data": data})

    assert {one.category for one in task.benchmarks[0].validation} == {"GSM_Rephrased"}
    assert task.mixture is not None
    assert (len(task.mixture.train), task.mixture.num_left_out) == (6, 3)
    (overlap,) = task.overlaps
    assert (overlap.split, overlap.other, overlap.num_exact, overlap.num_normalised) == (
        "metamathqa/train",
        "gsm8k/test",
        0,
        1,
    )


def test_bad_lines_are_refused_or_left_out(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "mine.jsonl", ["{", *QUESTIONS, {"question": "?"}])
    benchmarks = {"mine": {"data": data, **MINE}}
    broken = f"{data}:1: must be JSON: Expecting property name enclosed in double quotes"

    assert refusal(benchmarks=benchmarks) == [
        f"task.benchmarks.mine.data: {broken}",
        f"task.benchmarks.mine.data: {data}:12: label: is missing; every record needs "
        "question, label",
    ]
    task = load(benchmarks=benchmarks, on_bad_record="skip")
    assert split_sizes(task)["mine"]["train"] == 8
    assert task.notes == (f"{data}: 2 bad records are left out, the first: {broken}",)


BAD_FILES: dict[str, tuple[str, list[Any], str]] = {
    "no gsm8k answer": (
        "gsm8k",
        [{"question": "q", "answer": "72"}],
        ":1: answer: must end in `#### NUMBER`, got '72'",
    ),
    "no box": (
        "math",
        [{"problem": "q", "solution": "72"}],
        ":1: solution: must hold its answer in `\\boxed{}`, got '72'",
    ),
    "no gpt": (
        "evol_instruct",
        [{"conversations": [{"from": "gpt", "value": "a"}]}],
        ":1: conversations: must begin with a text from human and one from gpt, got "
        '[{"from": "gpt", "value": "a"}]',
    ),
    "missing lang": (
        "codefeedback_python",
        [{"query": "q", "answer": "a"}],
        ":1: lang: is missing; every record needs query, answer, lang",
    ),
    "nothing in Python": (
        "codefeedback_python",
        [{"query": "q", "answer": "a", "lang": "cpp"}],
        ": must hold examples to train on, got none",
    ),
    "type": (
        "mbpp",
        [{"task_id": "11", "text": "t", "code": "c", "test_list": []}],
        ':1: task_id: must be an integer, got "11"',
    ),
    "same id": (
        "llm_adapters",
        [make_record(1, id="x"), make_record(2, id="x")],
        ":2: id: must differ from the others, got 'x' twice",
    ),
    "empty": ("llm_adapters", [], ": must hold at least one record, got none"),
}


@pytest.mark.parametrize(("layout", "records", "problem"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_one_line(
    tmp_path: Path, layout: str, records: list[Any], problem: str
) -> None:
    data = write_lines(tmp_path / "x.jsonl", records)
    train = {"name": "mix", "data": data, "format": layout}

    assert refusal(benchmarks=["builtin_math"], train=train) == [
        f"task.train.data: {data}{problem}"
    ]


def test_what_is_no_gzip_file(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(b"text")
    (line,) = refusal(benchmarks={"mine": {"data": str(tmp_path / "x.jsonl.gz"), **MINE}})

    assert line.startswith(
        f"task.benchmarks.mine.data: {tmp_path}/x.jsonl.gz: must be a whole gzip file: "
    )


def test_tests_that_are_no_python(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "x.jsonl", [{"q": "f", "t": "assert ("}])
    fields = {"instruction": "q", "answer": "t"}
    benchmarks = {"mine": {"data": data, "scoring": "code", "fields": fields}}

    assert refusal(benchmarks=benchmarks) == [
        f"task.benchmarks.mine.data: {data}:1: answer: must be Python tests, got 'assert (': "
        "'(' was never closed"
    ]


def test_an_unknown_benchmark_needs_a_scoring_and_options(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "x.jsonl", QUESTIONS)
    benchmarks = {"one": {"data": data}, "two": {"data": data, "scoring": "choice"}}

    assert refusal(benchmarks=benchmarks)[:2] == [
        "task.benchmarks.one.scoring: must be given for one, which is not known, here or as "
        "`task.scoring`",
        "task.benchmarks.two.options: must be at least two for `scoring: choice`, got none",
    ]


def test_the_task_says_how_benchmarks_of_ones_own_are_scored(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "one.jsonl", QUESTIONS)
    write_lines(tmp_path / "two" / "train.jsonl", [make_record(index) for index in range(6)])
    one = {"data": data, "fields": MINE["fields"]}
    three = {**one, "scoring": "choice", "options": ["a", "b"]}
    fields = {"data": str(tmp_path), "scoring": "exact"}
    task = load(benchmarks={"one": one, "two": None, "three": three}, **fields)

    assert [(each.name, each.scorer) for each in task.benchmarks] == [
        ("one", ExactScorer()),
        ("two", ExactScorer()),
        ("three", ChoiceScorer(options=("a", "b"))),
    ]


def test_a_scoring_of_the_task_that_cannot_be(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "x.jsonl", QUESTIONS)
    own = {"data": data, "fields": MINE["fields"]}
    (line,) = refusal(benchmarks=["builtin_math"], scoring="exact")
    assert line == (
        "task.scoring: must be left out where every benchmark is known or says its own, got 'exact'"
    )
    for scoring, changes, problem in (
        ("choice", {}, "options: must be at least two for `scoring: choice`, got none"),
        ("regex", {}, "pattern: must be given for `scoring: regex`, got null"),
        ("exact", {"pattern": "x"}, "pattern: must be left out unless `scoring: regex`, got 'x'"),
    ):
        line = refusal(benchmarks={"one": {**own, **changes}}, scoring=scoring)[0]
        assert line == f"task.benchmarks.one.{problem}"


def test_data_of_ones_own_that_is_nowhere_is_its_own_fault(tmp_path: Path) -> None:
    benchmarks = {"mine": {"data": "own/er", **MINE}}
    (line,) = refusal(benchmarks=benchmarks, train={"name": "mix", "data": "a/b"})[:1]
    assert line.startswith("task.benchmarks.mine.data: own/er does not exist; the nearest in ")
    assert line.endswith(
        "a Hub id (owner/name) also needs task.benchmarks.mine.revision, its commit"
    )
    line = refusal(benchmarks=benchmarks, train={"name": "mix", "data": "a/b"})[1]
    assert line.startswith("task.train.data: a/b does not exist; ")
    assert line.endswith("a Hub id (owner/name) also needs task.train.revision, its commit")


def test_a_mixture_that_is_nowhere() -> None:
    assert refusal(benchmarks=["builtin_math"], train={"name": "metamathqa"}) == [
        "task.train.data: must name metamathqa's file, got null, published as meta-math/MetaMathQA"
    ]


def test_an_installed_package_brings_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "brought-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[droplora_sweep.benchmarks]\nsquares = brought_squares:entry\n"
        "wrong = brought_squares:wrong\n"
    )
    (tmp_path / "brought_squares.py").write_text(
        "from droplora_sweep.tasks import BenchmarkEntry, Example\n"
        "def load(folder):\n"
        "    all = [Example(f'{i} squared?', '', str(i * i), str(i * i)) for i in range(9)]\n"
        "    return {'train': all[:6], 'test': all[6:]}\n"
        "def entry():\n"
        "    return BenchmarkEntry(scoring='number', load=load)\n"
        "def wrong():\n"
        "    return 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    task = load(benchmarks=["squares"])
    assert split_sizes(task)["squares"] == {"train": 4, "validation": 2, "test": 3, "left_out": 0}
    assert {one.answer for one in task.benchmarks[0].test()} == {"36", "49", "64"}
    assert refusal(benchmarks=["wrong"]) == [
        "task.benchmarks: entry point wrong = brought_squares:wrong: must return a "
        "BenchmarkEntry, got int"
    ]


def test_a_field_that_is_not_renamed_is_read_under_its_usual_name(tmp_path: Path) -> None:
    records = [
        {"question": f"capital {i}?", "input": "", "output": f"it is city{i}", "answer": f"city{i}"}
        for i in range(6)
    ]
    file = tmp_path / "capitals.jsonl"
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    spec = {"data": str(file), "scoring": "exact", "fields": {"instruction": "question"}}
    task = load(benchmarks={"capitals": spec})
    example = task.benchmarks[0].train[0]
    assert example.output == f"it is {example.answer}"
    assert example.answer.startswith("city")
