"""Server that compares answers by math-verify; started by ``math_answers``, never imported.

Its first line of output says that it is ready. Then it reads one JSON object per line, ``{"texts":
[str, ...], "gold": str}``, and answers each with one line, ``{"prediction": str | null, "correct":
bool}``; the first of the texts with an answer is read. It is a process of its own because
math-verify limits its time by signals, which only a main thread gets, and because sympy takes half
a second and some 100 MB to import.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from math_verify import parse, verify


def main() -> None:
    """Serve until the input ends."""
    _answer({"ready": True})
    for line in sys.stdin:
        _answer(_judge(**json.loads(line)))


def _answer(reply: dict[str, Any]) -> None:
    print(json.dumps(reply), flush=True)  # noqa: T201


def _judge(texts: list[str], gold: str) -> dict[str, Any]:
    for text in texts:
        predicted = parse(text)
        # What it finds and cannot read it gives as text alone.
        if any(not isinstance(one, str) for one in predicted):
            correct = verify(parse(f"${gold}$"), predicted)
            return {"prediction": str(predicted[-1]), "correct": correct}
    return {"prediction": None, "correct": False}


if __name__ == "__main__":
    main()
