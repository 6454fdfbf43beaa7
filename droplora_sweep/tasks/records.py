"""The record every task is made of, as LLM-Adapters publishes its data."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Example:
    """One training or evaluation example.

    Attributes:
        instruction: What the model is asked.
        input: Further context; empty in every task of the paper.
        output: The response the model is trained on.
        answer: What a correct response must lead to: an option's name, a number, an expression, or
            the Python program that is put behind the response's and must run to its end (tests and
            the call of them). For ``judge`` the reference answers as a JSON list, one per turn, or
            "". May be "" in a training mixture, whose examples are not scored.
        preamble: The code in front of a response that continues it, as HumanEval's does: imports,
            helper functions and the head of the function to write. It is harmless where a response
            repeats it. None where a response is a program of its own.
        id: The publisher's name of the example, e.g. ``HumanEval/0``.
        category: The publisher's kind of example, e.g. ``GSM_Rephrased`` or ``coding``.
        turns: What the user says in each turn of a conversation, the first being ``instruction``;
            empty where there is one turn only.
    """

    instruction: str
    input: str
    output: str
    answer: str
    id: str | None = None
    category: str | None = None
    turns: tuple[str, ...] = ()
    preamble: str | None = None

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 over all fields that are set: a stable id."""
        content = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
