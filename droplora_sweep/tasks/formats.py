"""How publishers lay out their records, and the example that each record is.

``BadRecordError`` texts begin with the field at fault, as the file calls it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .records import Example

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CODE_PROMPT: Final = "Create a Python script for this problem:\n"
"""Begins the instruction of a code benchmark (arXiv 2508.17337)."""

ANSWER_MARK: Final = "The answer is: "
"""Stands before the answer in MetaMathQA's responses, and so in those made from other formats."""


class BadRecordError(ValueError):
    """A record has its fields, but what they say is no example."""


@dataclass(frozen=True)
class RecordFormat:
    """One layout.

    Attributes:
        fields: Fields every record must have, each with its type.
        read: The example; None for a record that the data set's use here leaves out.
        may_be_empty: Fields whose text may be empty.
        id_field: Field that names the record; no two of a file may share its value.
        split_of: The split a record belongs to, or None for no split, in files of several splits.
    """

    fields: Mapping[str, type[Any]]
    read: Callable[[dict[str, Any]], Example | None]
    may_be_empty: tuple[str, ...] = ()
    id_field: str | None = None
    split_of: Callable[[dict[str, Any]], str | None] | None = None


def code_preamble(example: Example) -> str:
    """What a HumanEval program needs in front of a response that does not repeat it.

    The problem's text is itself a program: its imports, its helper functions, and the function to
    write, which holds its documentation alone until the response defines it anew. Other code
    examples need nothing: "".
    """
    if example.id is None or not example.id.startswith("HumanEval/"):
        return ""
    return example.instruction.removeprefix(CODE_PROMPT)


def mbpp_split(task_id: int) -> str | None:
    """MBPP's split by task id; 1 to 10 are kept for few-shot prompts."""
    for split, first, last in (("test", 11, 510), ("validation", 511, 600), ("train", 601, 974)):
        if first <= task_id <= last:
            return split
    return None


def boxed_answer(solution: str) -> str | None:
    r"""The content of the last ``\boxed{...}``, its braces balanced; None if there is none.

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
        record["input"],
        record["output"],
        record["answer"],
        id=None if name is None else str(name),
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
    turns = record["conversations"]
    asked: list[tuple[Any, Any]] = [
        (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
        for turn in turns[:2]
    ]
    if [sender for sender, _ in asked] != ["human", "gpt"] or not all(
        isinstance(value, str) and value.strip() for _, value in asked
    ):
        raise BadRecordError(
            "conversations: must begin with a text from human and one from gpt, "
            f"got {json.dumps(turns)[:60]}"
        )
    (_, instruction), (_, output) = asked
    return Example(instruction, "", output, "")


def _humaneval(record: dict[str, Any]) -> Example:
    program = record["prompt"] + record["canonical_solution"]
    return Example(
        instruction=CODE_PROMPT + record["prompt"],
        input="",
        output=f"```python\n{program.strip()}\n```",
        answer=f"{record['test'].strip()}\n\ncheck({record['entry_point']})",
        id=record["task_id"],
    )


def _mbpp(record: dict[str, Any]) -> Example:
    tests = [test.replace("\r\n", "\n").strip() for test in record["test_list"]]
    if not tests:
        raise BadRecordError("test_list: must not be empty")
    program = record["code"].replace("\r\n", "\n").strip()
    setup = record.get("test_setup_code", "").replace("\r\n", "\n").strip()
    shown = "\n".join(tests)
    return Example(
        instruction=f"{CODE_PROMPT}{record['text']}\nYour code should pass these tests:\n{shown}",
        input="",
        output=f"```python\n{program}\n```",
        answer="\n".join(filter(None, (setup, *tests))),
        id=f"MBPP/{record['task_id']}",
    )


def _mt_bench(record: dict[str, Any]) -> Example:
    turns = record["turns"]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise BadRecordError(f"turns: must be texts, got {json.dumps(turns)[:60]}")
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


FORMATS: Final[dict[str, RecordFormat]] = {
    "llm_adapters": RecordFormat(
        dict.fromkeys(("instruction", "input", "output", "answer"), str),
        _llm_adapters,
        may_be_empty=("input",),
        id_field="id",
    ),
    "gsm8k": RecordFormat({"question": str, "answer": str}, _gsm8k),
    "math": RecordFormat({"problem": str, "solution": str}, _math),
    "metamathqa": RecordFormat({"query": str, "response": str, "type": str}, _metamathqa),
    "codefeedback_python": RecordFormat(
        {"query": str, "answer": str, "lang": str}, _codefeedback_python
    ),
    "evol_instruct": RecordFormat({"conversations": list}, _evol_instruct, id_field="idx"),
    "humaneval": RecordFormat(
        dict.fromkeys(("task_id", "prompt", "entry_point", "canonical_solution", "test"), str),
        _humaneval,
        id_field="task_id",
        split_of=lambda _: "test",
    ),
    "mbpp": RecordFormat(
        {"task_id": int, "text": str, "code": str, "test_list": list},
        _mbpp,
        id_field="task_id",
        split_of=lambda record: mbpp_split(record["task_id"]),
    ),
    "mt_bench": RecordFormat(
        {"question_id": int, "turns": list},
        _mt_bench,
        id_field="question_id",
    ),
}
"""Every layout by the name it has in ``format``."""
