"""Documents of ``arc_easy_answers.yaml``: question, options and the right one's place."""

from __future__ import annotations

import re
from typing import Any


def read(documents: Any) -> Any:
    """Return LLM-Adapters' records of ARC-Easy as documents of a task of options.

    Args:
        documents: A ``datasets.Dataset`` with ``instruction`` and ``answer``.
    """
    return documents.map(_document, remove_columns=documents.column_names)


def _document(record: dict[str, str]) -> dict[str, Any]:
    question, rest = record["instruction"].split("question: ", 1)[1].split("\n\nAnswer1: ", 1)
    options = re.split(r" Answer\d: ", rest.split("\n\nAnswer format: ", 1)[0])
    return {
        "question": question.strip(),
        "options": [one.strip() for one in options],
        "gold": int(record["answer"].removeprefix("answer")) - 1,
    }
