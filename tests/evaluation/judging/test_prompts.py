"""Prompts and references are the user's files; what is wrong with them is said at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.judging.grading import load_references
from droplora_sweep.evaluation.judging.prompts import load_prompts, messages_of

from .conftest import conversation, prompt_records, write_lines

if TYPE_CHECKING:
    from pathlib import Path


def test_both_turns_are_asked_about(prompts: Path) -> None:
    first, second = messages_of(conversation(), None, load_prompts(prompts))
    assert first[0] == {"role": "system", "content": "You are a judge."}
    assert first[1]["content"] == (
        "Rate it.\n\n[Question]\nWrite about 81.\n\n[The Start of Assistant's Answer]\n"
        "A text about 81.\n[The End of Assistant's Answer]"
    )
    assert second[1]["content"] == (
        "<|The Start of Assistant A's Conversation with User|>\n\n### User:\nWrite about 81.\n\n"
        "### Assistant A:\nA text about 81.\n\n### User:\nMake it shorter.\n\n"
        "### Assistant A:\nA text.\n\n<|The End of Assistant A's Conversation with User|>"
    )


@pytest.mark.parametrize("category", ["math", "reasoning", "coding"])
def test_some_categories_are_rated_against_references(prompts: Path, category: str) -> None:
    first, second = messages_of(
        conversation(category=category), ("It is 4.", "It is 5."), load_prompts(prompts)
    )
    assert "[The Start of Reference Answer]\nIt is 4.\n" in first[1]["content"]
    assert "It is 5." not in first[1]["content"]
    assert "### Reference answer:\nIt is 4.\n\n### User:\n" in second[1]["content"]
    assert "### Reference answer:\nIt is 5.\n\n<|The End" in second[1]["content"]


def test_an_answer_is_not_a_template(prompts: Path) -> None:
    odd = conversation(
        category="math", answers=("{ref_answer_1} {question} {x} {} \\g<0>", "{answer_1}")
    )
    first, second = messages_of(odd, ("secret", "secret"), load_prompts(prompts))
    assert "{ref_answer_1} {question} {x} {} \\g<0>" in first[1]["content"]
    assert "### Assistant A:\n{answer_1}\n" in second[1]["content"]


def test_the_published_prompts_are_sent_as_published(mt_bench: Path) -> None:
    records = {
        record["name"]: record
        for line in (mt_bench / "judge_prompts.jsonl").read_text().splitlines()
        for record in [json.loads(line)]
    }
    prompts = load_prompts(mt_bench / "judge_prompts.jsonl")
    references = load_references(mt_bench / "reference_answer" / "gpt-4.jsonl")
    questions = [
        json.loads(line) for line in (mt_bench / "question.jsonl").read_text().splitlines()
    ]
    assert len(questions) == 80
    num_referenced = 0
    for question in questions:
        reference = references.get(question["question_id"])
        asked = conversation(
            question["question_id"], category=question["category"], turns=(*question["turns"],)
        )
        needs_reference = asked.category in ("math", "reasoning", "coding")
        num_referenced += needs_reference
        kind = "single-math-v1" if needs_reference else "single-v1"
        values: dict[str, Any] = {
            "question": asked.turns[0],
            "answer": asked.answers[0],
            "question_1": asked.turns[0],
            "answer_1": asked.answers[0],
            "question_2": asked.turns[1],
            "answer_2": asked.answers[1],
        }
        if needs_reference:
            assert reference is not None
            values |= {"ref_answer_1": reference[0], "ref_answer_2": reference[1]}
        for messages, name in zip(
            messages_of(asked, reference, prompts), (kind, f"{kind}-multi-turn"), strict=True
        ):
            # FastChat fills its templates in with str.format.
            record = records[name]
            assert messages[0]["content"] == record["system_prompt"]
            assert messages[1]["content"] == record["prompt_template"].format(**values)
    assert num_referenced == 30


def _fault(path: Path, records: list[Any]) -> str:
    with pytest.raises(InputError) as caught:
        load_prompts(write_lines(path, records))
    return str(caught.value).replace(str(path), "FILE")


def test_bad_prompts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    assert _fault(path, prompt_records()[:3]) == (
        "FILE: must hold the prompts single-v1, single-math-v1, single-v1-multi-turn, "
        "single-math-v1-multi-turn, lacks single-math-v1-multi-turn"
    )
    for field, value, problem in [
        ("system_prompt", 3, "FILE:1: single-v1.system_prompt: must be text, got int"),
        (
            "output_format",
            "[[A]]",
            "FILE:1: single-v1.output_format: must be '[[rating]]', got '[[A]]'",
        ),
        (
            "prompt_template",
            "[a]\n{answer}\n[b]",
            "FILE:1: single-v1.prompt_template: must have {question}",
        ),
        (
            "prompt_template",
            "{question}{model}\n[a]\n{answer}\n[b]",
            "FILE:1: single-v1.prompt_template: must not have other fields than its own, "
            "got {model}",
        ),
        (
            "prompt_template",
            "{question}\nIt says: {answer}",
            "FILE:1: single-v1.prompt_template: must have {answer} on a line of its own between "
            "delimiter lines",
        ),
    ]:
        records = prompt_records()
        records[0] = {**records[0], field: value}
        assert _fault(path, records) == problem


def test_files_that_are_no_json_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    assert _fault(path, [{}, [1]]) == "FILE:2: must be a JSON object, got a list"
    path.write_text("\n{", encoding="utf-8")
    with pytest.raises(InputError, match=r"prompts\.jsonl:2: must be JSON: "):
        load_prompts(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="must be UTF-8 text, got the byte 0xff: invalid start"):
        load_prompts(path)
    with pytest.raises(InputError, match="absent: cannot be read: No such file or directory"):
        load_prompts(tmp_path / "absent")


def test_bad_references_are_refused(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "references.jsonl",
        [{"question_id": "1"}, {"question_id": 2, "choices": [{"turns": ["one"]}]}],
    )
    with pytest.raises(InputError) as caught:
        load_references(path)
    assert str(caught.value).splitlines() == [
        f"{path}:1: question_id: must be an integer, got '1'",
        f"{path}:2: choices: must hold one choice with `turns` of two texts",
    ]
