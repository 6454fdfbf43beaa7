"""Columns of records whose layout has no name: the question, its context, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.tasks.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Format, RecordField

QUESTIONS: Final = (
    *("instruction", "question", "prompt", "query", "problem"),
    *("text", "sentence", "review", "title", "input", "source", "premise", "content"),
)
"""Usual names of the column that asks, the surest first."""
CONTEXTS: Final = ("input", "context", "passage", "hypothesis", "document", "article")
ANSWERS: Final = (
    *("answer", "label", "target", "category", "class", "gold", "sentiment"),
    *("output", "response", "completion", "solution", "summary", "translation", "reply"),
)
"""Usual names of the column that answers, the surest first."""
RESPONSES: Final = ("output", "response", "completion", "rationale", "solution")
"""Usual names of a response that leads to the answer, beside a column with the answer alone."""

SCORED_FORMATS: Final[tuple[Format, ...]] = (
    *("llm_adapters", "humaneval", "mbpp_evalplus", "mbpp_plus", "mbpp"),
    *("gsm8k", "math", "messages", "sharegpt"),
)
"""Layouts whose records have answers to compare with, the most particular first."""


@dataclass(frozen=True)
class Layout:
    """Layout of the records of a file.

    Attributes:
        format: Its name; None where columns are named one by one.
        fields: Column by field of an example; empty where the layout has the usual names.
    """

    format: Format | None
    fields: Mapping[RecordField, str]


def recognise(record: Mapping[str, Any]) -> Layout | None:
    """Return the layout of a record, or of columns that have usual names; None for others.

    >>> recognise({"question": "2+2?", "answer": "so #### 4"})
    Layout(format='gsm8k', fields={})
    >>> recognise({"review": "Great!", "sentiment": "good"}).fields
    {'instruction': 'review', 'answer': 'sentiment'}
    """
    for name in SCORED_FORMATS:
        if all(isinstance(record.get(key), kind) for key, kind in FORMATS[name].fields.items()):
            if name == "gsm8k" and "####" not in record["answer"]:
                continue
            if name == "math" and "\\boxed" not in record["solution"]:
                continue
            return Layout(name, {})
    return named_columns(record, None, None)


def named_columns(
    record: Mapping[str, Any], question: str | None, answer: str | None
) -> Layout | None:
    """Return the columns of records that no layout fits; None where they cannot be told.

    Args:
        record: A record.
        question: The column that asks; one with a usual name where None.
        answer: The column that answers; one with a usual name where None.
    """
    asks = question or _first(QUESTIONS, record, taken=(answer,))
    answers = answer or _first(ANSWERS, record, taken=(asks,))
    if asks is None or answers is None:
        return None
    fields: dict[RecordField, str] = {"instruction": asks, "answer": answers}
    context = _first(CONTEXTS, record, taken=(asks, answers))
    response = _first(RESPONSES, record, taken=(asks, answers, context))
    if context is not None:
        fields["input"] = context
    if response is not None:
        fields["output"] = response
    return Layout(None, fields)


def _first(
    names: Sequence[str], record: Mapping[str, Any], taken: Sequence[str | None]
) -> str | None:
    """Return the record's own spelling of the first of these names that it has."""
    own = {key.lower(): key for key in record}
    return next((own[name] for name in names if name in own and own[name] not in taken), None)
