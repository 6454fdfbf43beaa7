"""Conversations are read whole where a chat template renders them, and bad ones are one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.splits import normalised_text

from .conftest import load, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.tasks.task import Example, Task

CHAT = {"benchmarks": ["builtin_choice"], "prompt": "chat"}
TURNS = [("user", "Say 0"), ("assistant", "0"), ("user", "And 1?"), ("assistant", "1")]


def openai(*turns: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def sharegpt(*turns: tuple[str, Any], **more: Any) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt"}
    said = [{"from": names.get(role, role), "value": text} for role, text in turns]
    return {"conversations": said, **more}


def written(tmp_path: Path, *records: Any) -> str:
    file = tmp_path / "chat.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def chat(tmp_path: Path, *records: Any, **fields: Any) -> Task:
    train = {"name": "mine", "data": written(tmp_path, *records)}
    return load(**{**CHAT, "train": train, **fields})


def trained(task: Task) -> Example:
    assert task.mixture is not None
    [example] = task.mixture.train
    return example


ALPACA = {"instruction": "And", "input": "1?", "output": "1"}
FORMS = {
    "OpenAI messages": openai(*TURNS),
    "ShareGPT conversations": sharegpt(*TURNS),
    "Alpaca records": {**ALPACA, "history": [["Say 0", "0"]]},
}


@pytest.mark.parametrize(("title", "record"), FORMS.items(), ids=FORMS.keys())
def test_a_form_is_recognised_and_named(tmp_path: Path, title: str, record: Any) -> None:
    system = {**record, "system": "You help."}
    task = chat(tmp_path, record)
    assert task.notes == (
        f"{tmp_path}/chat.jsonl: read as {title}: 1 conversations, 1 of several turns, 0 with a "
        "system's text",
    )
    example, with_system = trained(task), trained(chat(tmp_path, system))
    assert (example.system, with_system.system) == (None, "You help.")
    assert example.history == (("Say 0", "0"),)
    assert example.output == "1"
    assert task.mixture is not None
    question = "And\n\n1?" if title.startswith("Alpaca") else "And 1?"
    assert [tuple(one) for one in task.mixture.messages(example)] == [
        ("user", "Say 0"),
        ("assistant", "0"),
        ("user", question),
    ]
    assert tuple(task.mixture.messages(with_system)[0]) == ("system", "You help.")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_turn_of_the_systems(tmp_path: Path, role: str) -> None:
    task = chat(tmp_path, openai((role, "You help."), *TURNS))
    assert trained(task).system == "You help."
    assert trained(task).history == (("Say 0", "0"),)


def test_a_system_for_those_that_have_none(tmp_path: Path) -> None:
    records = [openai(*TURNS), openai(("system", "Own."), ("user", "2?"), ("assistant", "2"))]
    task = chat(tmp_path, *records, system="Be brief.")
    assert task.mixture is not None
    found = {task.mixture.messages(one)[0].content for one in task.mixture.train}
    assert found == {"Be brief.", "Own."}
    [benchmark] = task.benchmarks
    [first, asked] = benchmark.messages(benchmark.validation[0])
    assert tuple(first) == ("system", "Be brief.")
    assert asked.content == benchmark.validation[0].instruction


def test_a_last_question_without_an_answer_is_left_out(tmp_path: Path) -> None:
    example = trained(chat(tmp_path, openai(*TURNS, ("user", "And 2?"))))
    assert (example.instruction, example.output) == ("And 1?", "1")


def test_parts_of_text_are_one_text(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Say "}, {"type": "text", "text": "0"}]
    assert (
        trained(chat(tmp_path, openai(("user", parts), ("assistant", "0")))).instruction == "Say 0"
    )


def test_words_that_end_a_prompt_end_the_users_text() -> None:
    task = load(benchmarks=["builtin_math"], prompt="chat")
    [benchmark] = task.benchmarks
    example = benchmark.validation[0]
    [asked] = benchmark.messages(example)
    assert asked.content == f"{example.instruction} Let's think step by step."


ASKED = {"role": "user", "content": "a"}
ANSWERED = {"role": "assistant", "content": "b"}
IMAGE = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}]
BAD = {
    "two of the user": (
        openai(("user", "a"), ("user", "b"), ("assistant", "c")),
        "turn 2: must be from assistant, got user",
    ),
    "an answer first": (
        openai(("assistant", "a"), ("user", "b")),
        "turn 1: must be from user, or from system, got assistant",
    ),
    "a system within": (
        openai(("user", "a"), ("assistant", "b"), ("system", "c")),
        "turn 3: must be from user, got system",
    ),
    "an empty turn": (
        openai(("user", " "), ("assistant", "b")),
        "turn 1: must not be empty",
    ),
    "an unknown role": (
        openai(("user", "a"), ("parrot", "b")),
        "turn 2: must be from one of system, developer, human, user, gpt, assistant, chatgpt, got "
        '"parrot"',
    ),
    "calls of tools": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [1]}]},
        "turn 2: must be text without calls of tools, got tool_calls",
    ),
    "a tool": (
        openai(("user", "a"), ("tool", "b")),
        "turn 2: must be text without calls of tools, got tool",
    ),
    "a picture": (
        openai(("user", IMAGE), ("assistant", "b")),
        "turn 1: must hold text alone, got a part of type image_url",
    ),
    "null": (openai(("user", "a"), ("assistant", None)), "turn 2: must be text, got null"),
    "no object": ({"messages": ["a"]}, "turn 1: must be an object with role and text, got text"),
    "no answer": (
        openai(("user", "a")),
        'must hold a question and its answer, got [{"role": "user", "content": "a"}]',
    ),
    "no turns": ({"messages": []}, "must hold a question and its answer, got []"),
    "no weight": (
        {"messages": [ASKED, {**ANSWERED, "weight": 0}]},
        "turn 2: must have weight 1, or none, got 0",
    ),
}


@pytest.mark.parametrize(("record", "problem"), BAD.values(), ids=BAD.keys())
def test_a_bad_conversation_is_one_line_or_left_out(
    tmp_path: Path, record: Any, problem: str
) -> None:
    data = written(tmp_path, openai(*TURNS), record)
    train = {"name": "mine", "data": data}
    line = f"{data}:2: messages: {problem}"
    assert refusal(**CHAT, train=train) == [f"task.train.data: {line}"]
    task = load(**CHAT, train=train, on_bad_record="skip")
    assert trained(task).output == "1"
    assert task.notes[0] == f"{data}: 1 bad records are left out, the first: {line}"


@pytest.mark.parametrize("history", [[["a"]], [["a", " "]], ["a"], [["a", 1]]])
def test_a_bad_history_is_one_line(tmp_path: Path, history: Any) -> None:
    data = written(tmp_path, {**ALPACA, "history": history})
    assert refusal(**CHAT, train={"name": "mine", "data": data}) == [
        f"task.train.data: {data}:1: history: turn 1: must be a question and its answer, got "
        f"{json.dumps(history[0])}"
    ]


@pytest.mark.parametrize("place", ["system", "history"])
def test_half_a_character_is_found_everywhere(tmp_path: Path, place: str) -> None:
    value = "\ud83d" if place == "system" else [["\ud83d", "a"]]
    data = written(tmp_path, {**ALPACA, place: value})
    [line] = refusal(**CHAT, train={"name": "mine", "data": data})
    assert f":1: {place}: must be text that UTF-8 can hold" in line


def test_a_benchmark_of_conversations_asks_for_their_last_answer(tmp_path: Path) -> None:
    said = [openai(("user", f"Say {one}"), ("assistant", f"{one}")) for one in range(6)]
    longer = openai(*TURNS, answer="one")
    mine = {"data": written(tmp_path, longer, *said), "scoring": "exact"}
    task = load(benchmarks={"mine": mine}, prompt="chat", num_validation=7 - 2)
    [benchmark] = task.benchmarks
    examples = {one.output: one for one in (*benchmark.train, *benchmark.validation)}
    assert examples["1"].answer in ("1", "one")
    assert {one.answer for one in examples.values()} <= {*map(str, range(6)), "one"}
    assert all(one.answer for one in examples.values())


def test_what_was_said_before_makes_two_questions_two(tmp_path: Path) -> None:
    other = [("user", "Say 2"), ("assistant", "2"), *TURNS[2:]]
    task = chat(tmp_path, openai(*TURNS), openai(*other))
    assert task.mixture is not None
    one, two = task.mixture.train
    assert one.instruction == two.instruction
    assert normalised_text(one) != normalised_text(two)
    assert one.digest != two.digest


def test_fields_name_the_turns(tmp_path: Path) -> None:
    record = {"dialog": openai(*TURNS)["messages"], "system": "You help."}
    train = {
        "name": "mine",
        "data": written(tmp_path, record),
        "format": "messages",
        "fields": {"instruction": "dialog"},
    }
    example = trained(load(**CHAT, train=train))
    assert (example.history, example.system) == ((("Say 0", "0"),), "You help.")
    renamed = {"q": "Say 0", "a": "0", "history": [["Hi", "Hello"]], "system": "You help."}
    train = {
        "name": "mine",
        "data": written(tmp_path, renamed),
        "fields": {"instruction": "q", "output": "a"},
    }
    example = trained(load(**CHAT, train=train))
    assert (example.output, example.history) == ("0", (("Hi", "Hello"),))
    assert example.system == "You help."


@pytest.mark.parametrize("name", ["sharegpt", "alpaca", "messages"])
def test_a_form_may_be_given_by_its_name(tmp_path: Path, name: str) -> None:
    record = {"sharegpt": sharegpt(*TURNS), "alpaca": ALPACA, "messages": openai(*TURNS)}[name]
    train = {"name": "mine", "data": written(tmp_path, record), "format": name}
    assert trained(load(**CHAT, train=train)).output == "1"


def test_the_fields_of_a_chat_enter_no_task_without_one() -> None:
    assert {"system", "loss_on"} & TaskSpec().model_dump().keys() == set()
    chat = TaskSpec(prompt="chat", system="You help.", loss_on="last_turn").model_dump()
    assert (chat["system"], chat["loss_on"]) == ("You help.", "last_turn")
