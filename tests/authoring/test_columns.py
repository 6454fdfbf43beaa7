"""Columns by their names, and layouts by the fields of a record."""

from __future__ import annotations

from typing import Any

import pytest

from droplora_sweep.authoring.columns import named_columns, recognise


@pytest.mark.parametrize(
    ("record", "layout", "fields"),
    [
        ({"instruction": "a", "input": "", "output": "b", "answer": "b"}, "llm_adapters", {}),
        ({"question": "2+2?", "answer": "4 #### 4"}, "gsm8k", {}),
        ({"problem": "x", "solution": "\\boxed{3}", "type": "Algebra"}, "math", {}),
        ({"question": "q", "answer": "4"}, None, {"instruction": "question", "answer": "answer"}),
        (
            {"Text": "t", "Label": "pos", "id": "3"},
            None,
            {"instruction": "Text", "answer": "Label"},
        ),
        (
            {"instruction": "i", "input": "c", "output": "o"},
            None,
            {"instruction": "instruction", "input": "input", "answer": "output"},
        ),
        (
            {"question": "q", "context": "c", "rationale": "r", "label": "a"},
            None,
            {
                "instruction": "question",
                "input": "context",
                "output": "rationale",
                "answer": "label",
            },
        ),
        (
            {"problem": "x", "solution": "so it is 3"},
            None,
            {"instruction": "problem", "answer": "solution"},
        ),
    ],
)
def test_a_record_tells_its_layout(
    record: dict[str, Any], layout: str | None, fields: dict[str, str]
) -> None:
    found = recognise(record)
    assert found is not None
    assert found.format == layout
    assert found.fields == fields


def test_columns_without_usual_names_are_not_guessed() -> None:
    record = {"foo": "a", "bar": "b"}
    assert recognise(record) is None
    found = named_columns(record, "foo", "bar")
    assert found is not None
    assert found.fields == {"instruction": "foo", "answer": "bar"}
    assert named_columns(record, "foo", None) is None
