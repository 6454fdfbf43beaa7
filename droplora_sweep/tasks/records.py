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
        answer: What a correct response must lead to: an option's name, a number, or Python tests.
    """

    instruction: str
    input: str
    output: str
    answer: str

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 over all fields: a stable id of the example."""
        canonical = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
