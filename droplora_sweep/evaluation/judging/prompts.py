"""The judge's prompts, as FastChat publishes them in ``judge_prompts.jsonl``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.errors import Fault, InputError

from .delimiting import Neutraliser, is_delimiter
from .json_lines import read_json_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .conversations import Conversation

REFERENCE_CATEGORIES: Final = frozenset({"math", "reasoning", "coding"})
"""Categories that are rated against a reference answer."""

_SECOND_TURN: Final = ("question_1", "answer_1", "question_2", "answer_2")
_REFERENCES: Final = ("ref_answer_1", "ref_answer_2")
FIELDS: Final = {
    "single-v1": ("question", "answer"),
    "single-math-v1": ("question", "answer", "ref_answer_1"),
    "single-v1-multi-turn": _SECOND_TURN,
    "single-math-v1-multi-turn": (*_SECOND_TURN, *_REFERENCES),
}
"""The prompts that single-answer grading uses, and the fields each template must have."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z_0-9]*)\}")


@dataclass(frozen=True)
class JudgePrompt:
    """One prompt.

    Attributes:
        name: A key of ``FIELDS``.
        system_prompt: The system message.
        template: The user message, with ``{question}`` and so on to be filled in.
    """

    name: str
    system_prompt: str
    template: str


def load_prompts(path: Path) -> dict[str, JudgePrompt]:
    """The single-answer prompts of the file, by name; others in it are ignored.

    Raises:
        InputError: The file cannot be read or is not JSON lines, a prompt is missing, asks for
            another output than ``[[rating]]``, lacks a field or has an unknown one, or does not
            have each answer between delimiter lines.
    """
    prompts: dict[str, JudgePrompt] = {}
    faults: list[Fault] = []
    for where, record in read_json_lines(path):
        name = record.get("name")
        if name not in FIELDS:
            continue
        problems = _problems(name, record)
        faults += [Fault(where, f"{name}.{field}", problem) for field, problem in problems]
        if not problems:
            prompts[name] = JudgePrompt(name, record["system_prompt"], record["prompt_template"])
    missing = [name for name in FIELDS if name not in prompts]
    if missing and not faults:
        faults.append(
            Fault(str(path), "", f"must hold the prompts {', '.join(FIELDS)}, lacks {missing[0]}")
        )
    if faults:
        raise InputError(faults)
    return prompts


def fill_in(prompt: JudgePrompt, values: Mapping[str, str]) -> list[dict[str, str]]:
    """The messages to send; what a value holds is never taken for a field."""
    user = _PLACEHOLDER.sub(lambda match: values[match[1]], prompt.template)
    return [
        {"role": "system", "content": prompt.system_prompt},
        {"role": "user", "content": user},
    ]


def messages_of(
    conversation: Conversation,
    reference: tuple[str, str] | None,
    prompts: Mapping[str, JudgePrompt],
) -> tuple[list[dict[str, str]], ...]:
    """The messages that have the judge rate each turn.

    A question of one turn is rated by ``single-v1`` whatever its category, as the released code of
    arXiv 2508.17337 has MT-Bench's first turns rated.

    Args:
        conversation: What is rated; its answers are neutralised.
        reference: Right answers; needed for ``REFERENCE_CATEGORIES`` in two turns, else unused.
        prompts: From ``load_prompts``.
    """
    neutralise = Neutraliser(prompts[name].template for name in FIELDS)
    answers = [neutralise(answer) for answer in conversation.answers]
    if len(conversation.turns) == 1:
        values = {"question": conversation.turns[0], "answer": answers[0]}
        return (fill_in(prompts["single-v1"], values),)
    answer_1, answer_2 = answers
    question_1, question_2 = conversation.turns
    first = {"question": question_1, "answer": answer_1}
    second = {
        "question_1": question_1,
        "answer_1": answer_1,
        "question_2": question_2,
        "answer_2": answer_2,
    }
    kind = "single"
    if conversation.category in REFERENCE_CATEGORIES:
        assert reference is not None, "the category is rated against a reference"
        kind = "single-math"
        references = dict(zip(_REFERENCES, reference, strict=True))
        first, second = {**first, **references}, {**second, **references}
    return (
        fill_in(prompts[f"{kind}-v1"], first),
        fill_in(prompts[f"{kind}-v1-multi-turn"], second),
    )


def _problems(name: str, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of the record's field and what is wrong with it."""
    problems = [
        (field, f"must be text, got {type(record.get(field)).__name__}")
        for field in ("system_prompt", "prompt_template")
        if not isinstance(record.get(field), str)
    ]
    if record.get("output_format") != "[[rating]]":
        problems.append(
            ("output_format", f"must be '[[rating]]', got {record.get('output_format')!r}")
        )
    return problems or [
        ("prompt_template", problem) for problem in _template_problems(name, record)
    ]


def _template_problems(name: str, record: Mapping[str, Any]) -> list[str]:
    template = record["prompt_template"]
    found = set(_PLACEHOLDER.findall(template))
    known = {*FIELDS[name], *(_REFERENCES if "math" in name else ())}
    problems = [f"must have {{{field}}}" for field in FIELDS[name] if field not in found]
    problems += [
        f"must not have other fields than its own, got {{{field}}}"
        for field in sorted(found - known)
    ]
    problems += [
        f"must have {{{field}}} on a line of its own between delimiter lines"
        for field in FIELDS[name]
        if field.startswith("answer") and field in found and not _is_delimited(template, field)
    ]
    return problems


def _is_delimited(template: str, field: str) -> bool:
    lines = [line.strip() for line in template.splitlines() if line.strip()]
    places = [index for index, line in enumerate(lines) if f"{{{field}}}" in line]
    return all(
        lines[index] == f"{{{field}}}"
        and index > 0
        and is_delimiter(lines[index - 1])
        and index + 1 < len(lines)
        and is_delimiter(lines[index + 1])
        for index in places
    )
