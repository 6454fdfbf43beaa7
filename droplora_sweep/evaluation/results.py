"""What evaluation gives: one result per example, and the scores that follow from them."""

from __future__ import annotations

from collections import Counter, defaultdict
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
        response: The decoded response, without EOS; it may end where the rest could not change
            how it is read. Where options were scored, the response that was chosen.
        prediction: What was extracted from it; None if nothing was, which counts as wrong.
        gold: ``Example.answer``.
        correct: Whether the prediction is right.
        num_tokens: Length of the response, EOS included.
        log_probability: Where options were scored, the chosen one's, in nats (see
            ``OptionScores``); None where the response was decoded.
        protocol: How the response was read: ``paper`` or ``strict``.
    """

    benchmark: str
    example_id: str
    response: str
    prediction: str | None
    gold: str
    correct: bool
    num_tokens: int
    log_probability: float | None = None
    protocol: str = "paper"


@dataclass(frozen=True)
class Agreement:
    """How often two evaluations of the same examples read the same answer.

    Attributes:
        num_examples: In both.
        num_equal: Both have a prediction, and it is the same.
        num_unparsable: One or both have none.
    """

    num_examples: int
    num_equal: int
    num_unparsable: int

    @property
    def fraction(self) -> float | None:
        """Equal ones of those that both have a prediction for; None if there are none."""
        num_parsed = self.num_examples - self.num_unparsable
        return self.num_equal / num_parsed if num_parsed else None


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


def count_unparsable(results: Iterable[ExampleResult]) -> dict[str, int]:
    """Of each benchmark, the responses from which no answer could be read."""
    counts: Counter[str] = Counter()
    for result in results:
        counts[result.benchmark] += result.prediction is None
    return dict(sorted(counts.items()))


def agreement(
    some: Iterable[ExampleResult], others: Iterable[ExampleResult]
) -> dict[str, Agreement]:
    """Of each benchmark, how the predictions compare where both have the example."""
    predictions = {(one.benchmark, one.example_id): one.prediction for one in others}
    pairs: dict[str, list[tuple[str | None, str | None]]] = defaultdict(list)
    for one in some:
        key = (one.benchmark, one.example_id)
        if key in predictions:
            pairs[one.benchmark].append((one.prediction, predictions[key]))
    return {
        name: Agreement(
            num_examples=len(both),
            num_equal=sum(one is not None and one == other for one, other in both),
            num_unparsable=sum(None in pair for pair in both),
        )
        for name, both in sorted(pairs.items())
    }
