"""Scorer of a task of lm-evaluation-harness, which reads and scores its responses itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .scorer import Scorer

PREFIX: Final = "lm_eval:"
"""Beginning of a benchmark that is a task of lm-evaluation-harness, before the task's name."""


@dataclass(frozen=True)
class HarnessSettings:
    """A task of lm-evaluation-harness as a benchmark uses it.

    Attributes:
        task: Name of a task that comes with the library, or the path of a YAML file.
        num_fewshot: Solved examples in a prompt; the task's own number where None.
        limit: The first so many documents of each split are read; all where None.
        metric: Name of the metric that is the score, ``acc`` or ``exact_match,strict-match`` with
            its filter; the task's first where None.
        is_validation: Documents of the test split validate, where the task has none to do so.
    """

    task: str
    num_fewshot: int | None = None
    limit: int | None = None
    metric: str | None = None
    is_validation: bool = False

    @property
    def is_file(self) -> bool:
        """True where the task is a YAML file."""
        return self.task.endswith((".yaml", ".yml"))


@dataclass(frozen=True, kw_only=True)
class HarnessScorer(Scorer):
    """Scorer of a harness task: responses are made and scored by the library (``evaluation``)."""

    settings: HarnessSettings
