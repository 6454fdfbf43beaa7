"""Has math-verify compare answers; started by ``math_verifier``, never imported.

Its first line of output says that it is ready. Then it reads one JSON object per line, ``{"kind":
"number" | "math", "response": str, "gold": str}``, and answers each with one line,
``{"prediction": str | null, "correct": bool}``. It is a process of its own because math-verify
limits its time by signals, which only a main thread gets, and because sympy takes half a second
and some 100 MB to import.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from math_verify import parse, verify

_DELIMITER = "The answer is: "
_MARKS = ("$", "\\boxed", "\\(", "\\[")
"""math-verify finds LaTeX by these, and takes the rest for prose."""


def main() -> None:
    """Serves until its input ends."""
    _answer({"ready": True})
    for line in sys.stdin:
        _answer(_judge(**json.loads(line)))


def _answer(reply: dict[str, Any]) -> None:
    print(json.dumps(reply), flush=True)  # noqa: T201


def _judge(kind: str, response: str, gold: str) -> dict[str, Any]:
    predicted = parse(response if kind == "number" else _marked(response))
    if not predicted:
        return {"prediction": None, "correct": False}
    correct = verify(parse(f"${gold}$"), predicted)
    return {"prediction": str(predicted[-1]), "correct": correct}


def _marked(response: str) -> str:
    """The answer between dollar signs, if only the paper's delimiter shows where it is."""
    _, delimiter, answer = response.rpartition(_DELIMITER)
    answer = answer.partition(".\n")[0].partition("\n")[0].strip().removesuffix(".")
    if not delimiter or not answer or any(mark in answer for mark in _MARKS):
        return response
    return f"${answer}$"


if __name__ == "__main__":
    main()
