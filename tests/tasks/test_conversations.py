"""Conversations to train on: ShareGPT's and OpenAI's layouts, up to the first answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.tasks.task import render_prompt

from .conftest import load, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.tasks.task import Task

SYSTEM = "You help."


def sharegpt(*said: str, roles: tuple[str, ...] = ("human", "gpt")) -> dict[str, Any]:
    turns = [{"from": role, "value": text} for role, text in zip(roles, said, strict=True)]
    return {"id": said[0], "conversations": turns}


def openai(*said: Any, roles: tuple[str, ...] = ("user", "assistant")) -> dict[str, Any]:
    turns = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
    return {"messages": turns}


def trained_on(tmp_path: Path, records: list[dict[str, Any]], **train: Any) -> Task:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(records))
    return load(benchmarks=["builtin_choice"], train={"name": "chat", "data": str(file), **train})


LAYOUTS = {
    "sharegpt": sharegpt("Say 0", "0"),
    "sharegpt's other names": sharegpt("Say 0", "0", roles=("user", "assistant")),
    "chatgpt": sharegpt("Say 0", "0", roles=("human", "chatgpt")),
    "openai": openai("Say 0", "0"),
    "openai's parts": openai([{"type": "text", "text": "Say 0"}], "0"),
    "ours under another name": {"conversations": openai("Say 0", "0")["messages"]},
}


@pytest.mark.parametrize("record", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_question_and_its_answer(tmp_path: Path, record: dict[str, Any]) -> None:
    task = trained_on(tmp_path, [record])
    assert task.mixture is not None
    [example] = task.mixture.train
    assert (example.instruction, example.input, example.output) == ("Say 0", "", "0")
    assert task.notes == ()


@pytest.mark.parametrize(
    "record",
    [
        sharegpt(SYSTEM, "Say 0", "0", roles=("system", "human", "gpt")),
        openai(SYSTEM, "Say 0", "0", roles=("system", "user", "assistant")),
        openai(SYSTEM, "Say 0", "0", roles=("developer", "user", "assistant")),
    ],
)
def test_the_systems_text_stands_before_the_question(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    task = trained_on(tmp_path, [record])
    assert task.mixture is not None
    [example] = task.mixture.train
    assert example.instruction == "You help.\n\nSay 0"
    prompt = task.mixture.render_prompt(example)
    assert "### Instruction:\nYou help.\n\nSay 0\n\n### Response:" in prompt
    assert prompt == render_prompt(example)


def test_what_follows_the_first_answer_is_left_out_and_counted(tmp_path: Path) -> None:
    roles = ("user", "assistant", "user", "assistant")
    records = [openai("Say 0", "0"), openai("Say 1", "1", "And 2?", "2", roles=roles)]
    task = trained_on(tmp_path, records)
    assert task.mixture is not None
    assert {one.output for one in task.mixture.train} == {"0", "1"}
    assert task.notes == (
        f"{tmp_path}/chat.json: 1 conversations are read to their first answer; "
        "`task.prompt: chat` reads them whole",
    )


NO_BEGINNINGS = {
    "an answer": sharegpt("0", "Say 0", roles=("gpt", "human")),
    "a lone question": {"conversations": [{"from": "human", "value": "Say 0"}]},
    "two system texts": sharegpt("a", "b", "c", "d", roles=("system", "system", "human", "gpt")),
    "an unknown speaker": sharegpt("Say 0", "0", roles=("human", "parrot")),
    "an empty answer": sharegpt("Say 0", " "),
    "an empty system text": sharegpt(" ", "Say 0", "0", roles=("system", "human", "gpt")),
    "null": sharegpt("Say 0", None),
    "no turns": {"conversations": []},
    "texts": {"conversations": ["Say 0", "0"]},
    "speakers that are no text": {"conversations": [{"from": [], "value": "a"}] * 2},
}


@pytest.mark.parametrize("record", NO_BEGINNINGS.values(), ids=NO_BEGINNINGS.keys())
def test_another_beginning_is_one_line(tmp_path: Path, record: dict[str, Any]) -> None:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([sharegpt("Say 1", "1"), record]))
    train = {"name": "chat", "data": str(file)}
    shown = json.dumps(record["conversations"][:3])[:60]
    assert refusal(benchmarks=["builtin_choice"], train=train) == [
        f"task.train.data: {file}: record 2: conversations: must begin with a text from human and "
        f"one from gpt, got {shown}"
    ]


def test_a_picture_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
    file.write_text(json.dumps([openai("Say 1", "1"), openai(picture, "0")]))
    train = {"name": "chat", "data": str(file)}
    [line] = refusal(benchmarks=["builtin_choice"], train=train)
    assert line.startswith(
        f"task.train.data: {file}: record 2: messages: must begin with a text from user and one "
        'from assistant, got [{"role": "user", "content": [{"type": "image_url"'
    )


def test_the_list_of_turns_may_have_another_name(tmp_path: Path) -> None:
    records = [
        {"dialog": sharegpt("Say 0", "0")["conversations"], "n": "a"},
        {"dialog": [], "n": "b"},
    ]
    fields = {"instruction": "dialog", "id": "n"}
    task = None
    with pytest.raises(Exception, match="record 2: dialog: must begin with a text from human"):
        trained_on(tmp_path, records, format="evol_instruct", fields=fields)
    task = trained_on(tmp_path, records[:1], format="evol_instruct", fields=fields)
    assert task.mixture is not None
    assert [one.output for one in task.mixture.train] == ["0"]
