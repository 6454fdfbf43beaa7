"""Scores that need no model at all: of the most frequent answer, and of a blind guess."""

from __future__ import annotations

import re
from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import Example
    from .task import Benchmark

MAX_LABELS = 10
"""Texts that are compared as a whole are a closed set of answers up to this many different ones."""
MIN_PER_LABEL = 5
"""Each of which has to be the right one this often on average."""

ANSWER_FORMAT = re.compile(r"answer format:\s*(\S+)", re.IGNORECASE)
"""Names an example's own options, as LLM-Adapters' data does: ``answer1/answer2/answer3``."""


def most_frequent_answer(
    benchmark: Benchmark, examples: Sequence[Example]
) -> tuple[str, float] | None:
    """The answer that is right most often, with the share of the examples that it is right for.

    Args:
        benchmark: Whose examples.
        examples: One split's.

    Returns:
        None where the benchmark has no closed set of answers.
    """
    counts = Counter(example.answer for example in examples)
    if not counts or not _is_closed(benchmark, counts):
        return None
    # Of answers that are equally frequent, the same one whatever the order of the examples.
    answer = min(counts, key=lambda one: (-counts[one], one))
    return answer, counts[answer] / len(examples)


def chance(benchmark: Benchmark, examples: Sequence[Example]) -> float | None:
    """The expected score of a blind guess among each example's options.

    Args:
        benchmark: Whose examples.
        examples: One split's.

    Returns:
        None where the benchmark is no multiple choice.
    """
    if benchmark.scoring != "choice" or not examples:
        return None
    return fmean(1 / _num_options(benchmark, example) for example in examples)


def _is_closed(benchmark: Benchmark, counts: Counter[str]) -> bool:
    if benchmark.scoring == "choice":
        return True
    is_text = benchmark.scoring in ("exact", "regex")
    return is_text and len(counts) <= min(MAX_LABELS, counts.total() // MIN_PER_LABEL)


def _num_options(benchmark: Benchmark, example: Example) -> int:
    """Options of one example: some benchmarks have questions with fewer than all."""
    found = ANSWER_FORMAT.findall(f"{example.instruction}\n{example.input}")
    named = set(found[-1].rstrip(".").split("/")) if found else set()
    is_list = len(named) > 1 and named <= set(benchmark.options) and example.answer in named
    return len(named) if is_list else len(benchmark.options)
