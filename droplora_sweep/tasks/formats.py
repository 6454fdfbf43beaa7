"""Layouts of publishers' records, and the example that each record is.

``BadRecordError`` texts begin with the field at fault, as the file calls it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from .conversations import (
    BadRecordError,
    first_exchange,
    how_it_begins,
    read_conversation,
    read_history,
)
from .task import Example

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from droplora_sweep.spec import RecordField


CODE_PROMPT: Final = "Create a Python script for this problem:\n"
"""Beginning of a code benchmark's instruction (arXiv 2508.17337)."""

ANSWER_MARK: Final = "The answer is: "
"""Text before the answer in MetaMathQA's responses, and so in those made from other formats."""


@dataclass(frozen=True)
class RecordFormat:
    """One layout.

    Attributes:
        fields: Fields every record must have, each with its type.
        read: The example; None for a record that the data set's use here leaves out. A field of
            ``optional`` that is absent or null in the file is absent in what it is given.
        optional: Fields that a record may lack, or have as null, each with its type.
        may_be_empty: Fields whose text may be empty.
        may_be_null: Those of ``fields`` where null is the empty text.
        id_field: Field that names the record; no two of a file may share its value.
        split_of: The split a record belongs to, or None for no split, in files of several splits.
        roles: The field of a record that each field of an example is made of.
        is_cut: Returns True for a record of which only the beginning is read.
        read_whole: The example with the turns before it and the system's text, for a chat template;
            None where ``read`` leaves nothing out.
        chat_fields: Optional fields that ``read_whole`` knows too, each with its type.
        title: Name of a layout of conversations.
    """

    fields: Mapping[str, type[Any]]
    read: Callable[[dict[str, Any]], Example | None]
    optional: Mapping[str, type[Any]] = field(default_factory=dict)
    may_be_empty: tuple[str, ...] = ()
    may_be_null: tuple[str, ...] = ()
    id_field: str | None = None
    split_of: Callable[[dict[str, Any]], str | None] | None = None
    roles: Mapping[RecordField, str] = field(default_factory=dict)
    is_cut: Callable[[dict[str, Any]], bool] | None = None
    read_whole: Callable[[dict[str, Any]], Example | None] | None = None
    chat_fields: Mapping[str, type[Any]] = field(default_factory=dict)
    title: str = ""

    @property
    def is_conversation(self) -> bool:
        """True where a record is a list of turns."""
        return "conversations" in self.fields or "messages" in self.fields


def mbpp_split(task_id: int) -> str | None:
    """Return MBPP's split by task id; 1 to 10 are kept for few-shot prompts."""
    for split, first, last in (("test", 11, 510), ("validation", 511, 600), ("train", 601, 974)):
        if first <= task_id <= last:
            return split
    return None


def boxed_answer(solution: str) -> str | None:
    r"""Return the content of the last ``\boxed{...}``, its braces balanced; None without one.

    >>> boxed_answer(r"so $x = \boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'
    """
    start = max(solution.rfind("\\boxed"), solution.rfind("\\fbox"))
    if start < 0:
        return None
    opening = re.match(r"\\f?box(?:ed)?\s*", solution[start:])
    assert opening is not None, "it begins with the mark that was found"
    rest = solution[start + opening.end() :]
    if not rest.startswith("{"):
        return rest.split("$")[0].strip() or None
    depth = 0
    for index, character in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return rest[1:index].strip() or None
    return None


def _llm_adapters(record: dict[str, Any]) -> Example:
    name = record.get("id")
    return Example(
        record["instruction"],
        record.get("input", ""),
        record["output"],
        record.get("answer", ""),
        id=None if name is None else str(name),
    )


def _alpaca_chat(record: dict[str, Any]) -> Example:
    return replace(
        _llm_adapters(record),
        system=_system_of(record),
        history=read_history("history", record.get("history", [])),
    )


def _gsm8k(record: dict[str, Any]) -> Example:
    rationale, mark, answer = record["answer"].rpartition("####")
    answer = answer.strip().replace(",", "")
    if not mark or not answer:
        raise BadRecordError(f"answer: must end in `#### NUMBER`, got {record['answer'][-40:]!r}")
    # What stands in << >> was for a calculator that took part in decoding.
    steps = re.sub(r"<<[^<>]*>>", "", rationale).strip()
    return Example(record["question"], "", f"{steps}\n{ANSWER_MARK}{answer}", answer)


def _math(record: dict[str, Any]) -> Example:
    answer = boxed_answer(record["solution"])
    if answer is None:
        shown = record["solution"][-40:]
        raise BadRecordError(f"solution: must hold its answer in `\\boxed{{}}`, got {shown!r}")
    output = f"{record['solution']}\n{ANSWER_MARK}{answer}"
    return Example(record["problem"], "", output, answer, category=record.get("type"))


def _metamathqa(record: dict[str, Any]) -> Example:
    _, mark, answer = record["response"].rpartition(ANSWER_MARK)
    return Example(
        record["query"],
        "",
        record["response"],
        answer.strip() if mark else "",
        category=record["type"],
    )


def _codefeedback_python(record: dict[str, Any]) -> Example | None:
    if record["lang"].lower() != "python":
        return None
    return Example(record["query"], "", record["answer"], "")


def _evol_instruct(record: dict[str, Any]) -> Example:
    return _conversation("conversations", "human", "gpt", record["conversations"])


def _messages(record: dict[str, Any]) -> Example:
    return _conversation("messages", "user", "assistant", record["messages"])


def _conversation(name: str, user: str, assistant: str, turns: list[Any]) -> Example:
    found = first_exchange(turns)
    if found is None:
        raise BadRecordError(
            f"{name}: must begin with a text from {user} and one from {assistant}, "
            f"got {how_it_begins(turns)}"
        )
    return Example(found.instruction, "", found.output, "")


def _whole(name: str) -> Callable[[dict[str, Any]], Example]:
    """Return the reader of whole conversations, whose last question is the example's."""

    def read(record: dict[str, Any]) -> Example:
        found = read_conversation(name, record[name])
        *history, (question, answer) = found.exchanges
        return Example(
            question,
            "",
            answer,
            record.get("answer", ""),
            system=_system_of(record) if found.system is None else found.system,
            history=tuple(history),
        )

    return read


def _system_of(record: dict[str, Any]) -> str | None:
    """Return the system's text of a record that has it beside its turns."""
    text: str = record.get("system", "")
    return text if text.strip() else None


def _goes_on(name: str) -> Callable[[dict[str, Any]], bool]:
    def is_cut(record: dict[str, Any]) -> bool:
        found = first_exchange(record[name])
        return found is not None and found.has_more

    return is_cut


def _humaneval(record: dict[str, Any]) -> Example:
    program = record["prompt"] + record["canonical_solution"]
    name = record.get("task_id")
    return Example(
        # The released prompts have a tab for each four spaces, as WizardCoder's have.
        instruction=CODE_PROMPT + record["prompt"].replace("    ", "\t"),
        input="",
        output=f"```python\n{program.strip()}\n```",
        answer=f"{record['test'].strip()}\n\ncheck({record['entry_point']})",
        id=None if name is None else str(name),
        preamble=record["prompt"],
    )


def _mbpp(record: dict[str, Any]) -> Example:
    tests = _code_lines(record, "test_list")
    if not tests:
        raise BadRecordError("test_list: must not be empty")
    program = record["code"].replace("\r\n", "\n").strip()
    setup = [
        # The sanitized set has imports in place of a program.
        *_code_lines(record, "test_imports"),
        record.get("test_setup_code", "").replace("\r\n", "\n").strip(),
    ]
    shown = "\n".join(tests)
    return Example(
        instruction=f"{CODE_PROMPT}{record['text']}\nYour code should pass these tests:\n{shown}",
        input="",
        output=f"```python\n{program}\n```",
        answer="\n".join(filter(None, (*setup, *tests))),
        id=f"MBPP/{record['task_id']}",
    )


def _code_lines(record: dict[str, Any], name: str) -> list[str]:
    lines = record.get(name, [])
    if not all(isinstance(line, str) for line in lines):
        raise BadRecordError(f"{name}: must be texts, got {json.dumps(lines, default=str)[:60]}")
    return [line.replace("\r\n", "\n").strip() for line in lines]


def _mbpp_evalplus(record: dict[str, Any]) -> Example:
    """EvalPlus' own file, whose ``assertion`` holds MBPP's tests as EvalPlus mended them."""
    return _evalplus_example(
        record["task_id"], record["prompt"], record["canonical_solution"], record["assertion"]
    )


def _mbpp_plus(record: dict[str, Any]) -> Example:
    """The same in the layout of MBPP, which gives the sentence and the tests apart."""
    tests = _code_lines(record, "test_list")
    if not tests:
        raise BadRecordError("test_list: must not be empty")
    prompt = f'"""\n{record["prompt"].strip()}\n{tests[0]}\n"""'
    assertions = "\n".join((*_code_lines(record, "test_imports"), *tests))
    return _evalplus_example(record["task_id"], prompt, record["code"], assertions)


def _evalplus_example(task_id: str | int, prompt: str, solution: str, tests: str) -> Example:
    return Example(
        instruction=f"{CODE_PROMPT}{prompt.strip()}\n",
        input="",
        output=f"```python\n{solution.strip()}\n```",
        answer=tests.strip(),
        id=f"MBPP/{str(task_id).rpartition('/')[2]}",
    )


def _mt_bench_first_turn(record: dict[str, Any]) -> Example:
    return replace(_mt_bench(record), answer="", turns=())


def _mt_bench(record: dict[str, Any]) -> Example:
    turns = record["turns"]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise BadRecordError(f"turns: must be texts, got {json.dumps(turns, default=str)[:60]}")
    reference = record.get("reference")
    return Example(
        instruction=turns[0],
        input="",
        output="",
        answer=json.dumps(reference, ensure_ascii=False) if reference else "",
        id=str(record["question_id"]),
        category=record.get("category"),
        turns=tuple(turns),
    )


_ALPACA: Final = RecordFormat(
    dict.fromkeys(("instruction", "output", "answer"), str),
    _llm_adapters,
    optional={"input": str},
    id_field="id",
    read_whole=_alpaca_chat,
    chat_fields={"system": str, "history": list},
    title="Alpaca records",
)

_SHAREGPT: Final = RecordFormat(
    {"conversations": list},
    _evol_instruct,
    id_field="idx",
    roles={"instruction": "conversations", "id": "idx"},
    is_cut=_goes_on("conversations"),
    read_whole=_whole("conversations"),
    chat_fields={"system": str, "answer": str},
    title="ShareGPT conversations",
)

FORMATS: Final[dict[str, RecordFormat]] = {
    "llm_adapters": _ALPACA,
    "alpaca": _ALPACA,
    "gsm8k": RecordFormat(
        {"question": str, "answer": str},
        _gsm8k,
        roles={"instruction": "question", "answer": "answer"},
    ),
    "math": RecordFormat(
        {"problem": str, "solution": str},
        _math,
        optional={"type": str},
        roles={"instruction": "problem", "output": "solution"},
    ),
    "metamathqa": RecordFormat(
        {"query": str, "response": str, "type": str},
        _metamathqa,
        roles={"instruction": "query", "output": "response"},
    ),
    "codefeedback_python": RecordFormat(
        {"query": str, "answer": str, "lang": str},
        _codefeedback_python,
        roles={"instruction": "query", "output": "answer"},
    ),
    "evol_instruct": _SHAREGPT,
    "sharegpt": _SHAREGPT,
    "messages": RecordFormat(
        {"messages": list},
        _messages,
        id_field="id",
        roles={"instruction": "messages", "id": "id"},
        is_cut=_goes_on("messages"),
        read_whole=_whole("messages"),
        chat_fields={"system": str, "answer": str},
        title="OpenAI messages",
    ),
    "humaneval": RecordFormat(
        dict.fromkeys(("prompt", "entry_point", "canonical_solution", "test"), str),
        _humaneval,
        id_field="task_id",
        split_of=lambda _: "test",
        roles={
            "instruction": "prompt",
            "output": "canonical_solution",
            "answer": "test",
            "id": "task_id",
        },
    ),
    "mbpp": RecordFormat(
        {"task_id": int, "text": str, "code": str, "test_list": list},
        _mbpp,
        optional={"test_setup_code": str, "test_imports": list},
        id_field="task_id",
        split_of=lambda record: mbpp_split(record["task_id"]),
        roles={"instruction": "text", "output": "code", "answer": "test_list", "id": "task_id"},
    ),
    "mbpp_evalplus": RecordFormat(
        dict.fromkeys(("task_id", "prompt", "canonical_solution", "assertion"), str),
        _mbpp_evalplus,
        id_field="task_id",
        split_of=lambda _: "test",
        roles={
            "instruction": "prompt",
            "output": "canonical_solution",
            "answer": "assertion",
            "id": "task_id",
        },
    ),
    "mbpp_plus": RecordFormat(
        {"task_id": int, "prompt": str, "code": str, "test_list": list},
        _mbpp_plus,
        optional={"test_imports": list},
        id_field="task_id",
        split_of=lambda _: "test",
        roles={"instruction": "prompt", "output": "code", "answer": "test_list", "id": "task_id"},
    ),
    "mt_bench_first_turn": RecordFormat(
        {"question_id": int, "turns": list},
        _mt_bench_first_turn,
        optional={"category": str},
        id_field="question_id",
        roles={"instruction": "turns", "id": "question_id"},
    ),
    "mt_bench": RecordFormat(
        {"question_id": int, "turns": list},
        _mt_bench,
        optional={"category": str, "reference": list},
        id_field="question_id",
        roles={"instruction": "turns", "answer": "reference", "id": "question_id"},
    ),
}
"""Every layout by the name it has in ``format``."""

IN_CONVERSATIONS: Final = ("messages", "sharegpt")
"""Layouts of conversations; a text prompt reads their first exchange."""
