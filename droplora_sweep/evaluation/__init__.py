"""Model and task in, per-example results and scores out.

``evaluate`` needs torch and is imported on first use; everything else works without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answers import Answer, judge
from .code_runner import run_programs
from .extraction import extract_choice, extract_code, extract_math, extract_number
from .results import Agreement, ExampleResult, agreement, count_unparsable, example_scores, score

if TYPE_CHECKING:
    from .evaluator import evaluate

__all__ = [
    "Agreement",
    "Answer",
    "ExampleResult",
    "agreement",
    "count_unparsable",
    "evaluate",
    "example_scores",
    "extract_choice",
    "extract_code",
    "extract_math",
    "extract_number",
    "judge",
    "run_programs",
    "score",
]


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        from .evaluator import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
