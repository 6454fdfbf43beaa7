"""What evaluation gives: one result per example, and the scores that follow from them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class ExampleResult:
    """How one example was answered.

    Attributes:
        benchmark: The benchmark's name.
        example_id: ``Example.digest``, which pairs the results of two trials.
        response: The decoded response, without EOS.
        prediction: What was extracted from it; None if nothing was, which counts as wrong.
        gold: ``Example.answer``.
        correct: Whether the prediction is right.
        num_tokens: Length of the response, EOS included.
    """

    benchmark: str
    example_id: str
    response: str
    prediction: str | None
    gold: str
    correct: bool
    num_tokens: int


def score(results: Iterable[ExampleResult]) -> dict[str, float]:
    """Each benchmark's accuracy in [0, 1], and ``mean``: their unweighted mean, as in the paper.

    Args:
        results: Of all ranks, in any order; at least one.
    """
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        outcomes[result.benchmark].append(result.correct)
    assert outcomes, "a score needs results"
    scores = {name: sum(correct) / len(correct) for name, correct in sorted(outcomes.items())}
    return {**scores, "mean": sum(scores.values()) / len(scores)}
