"""Results of an evaluation, one per response, and the scores and metrics that follow from them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec.metric_names import (
    MEAN,
    PASS_AT,
    RATING,
    UNPARSABLE,
    UNRATED,
    likelihood_name,
    score_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from droplora_sweep.spec.evaluation import SamplingSpec
    from droplora_sweep.tasks.task import ScoredSplit


MAX_RATING = 10.0
"""The best rating of a judge (arXiv 2306.05685); the worst is 1."""


@dataclass(frozen=True)
class ExampleResult:
    """Result of one response to one example, which may have several.

    Attributes:
        benchmark: The benchmark's name.
        example_id: ``Example.digest``, which pairs the results of two trials.
        response: The decoded response, without EOS; it may end where the rest could not change
            how it is read. Where options were scored, the response that was chosen.
        prediction: Answer that was read from it; None if none was, which counts as wrong, and
            where a judge rates the response as a whole.
        gold: ``Example.answer``.
        correct: True where the prediction is right; None where a judge rates instead.
        num_tokens: Length of the response, EOS included.
        log_probability: The chosen option's, in nats, where options were scored (see
            ``OptionScores``); None where the response was decoded.
        protocol: Rules by which the response was read: ``paper`` or ``strict``.
        prompt_digest: First 16 hex digits of the sha256 over the rendered prompt.
        sample: 0-based, of the responses that were drawn to one prompt.
        turn: 1-based, of a conversation.
        rating: A judge's, in [1, 10]; None where it is missing, or no judge was asked.
        note: Reason why the rating is missing, or why another backend decoded than was asked for;
            None where neither is so.
        credit: Score in [0, 1] of a response that may be right in part (see ``Answer``).
        reference_log_probability: Of the example's reference response and EOS under the model, in
            nats (see ``likelihood``); None where it was not measured, or there is no reference.
        reference_bytes: The reference's length in UTF-8; None likewise.
        values: What lm-evaluation-harness measured beside the score, by metric; None elsewhere.
    """

    benchmark: str
    example_id: str
    response: str
    prediction: str | None
    gold: str
    correct: bool | None
    num_tokens: int
    log_probability: float | None = None
    protocol: str = "paper"
    prompt_digest: str | None = None
    sample: int = 0
    turn: int = 1
    rating: float | None = None
    note: str | None = None
    credit: float | None = None
    reference_log_probability: float | None = None
    reference_bytes: int | None = None
    values: Mapping[str, Any] | None = None

    @property
    def score(self) -> float | None:
        """Score in [0, 1]: the credit, or 1 if correct, else 0, or a tenth of a rating.

        A rating of 1 to 10 has no average with accuracies; a tenth of it has, and keeps the order.
        """
        if self.credit is not None:
            return self.credit
        if self.correct is not None:
            return float(self.correct)
        return None if self.rating is None else self.rating / MAX_RATING


@dataclass(frozen=True)
class Agreement:
    """Agreement of the answers in two evaluations of the same examples.

    Attributes:
        num_examples: Number of examples in both.
        num_equal: Number for which both have the same prediction.
        num_unparsable: Number for which one or both have none.
    """

    num_examples: int
    num_equal: int
    num_unparsable: int

    @property
    def fraction(self) -> float | None:
        """Share of equal ones among those with both predictions; None if there are none."""
        num_parsed = self.num_examples - self.num_unparsable
        return self.num_equal / num_parsed if num_parsed else None


def example_scores(
    outcomes: Iterable[tuple[str, str, float | None]],
) -> dict[str, dict[str, float | None]]:
    """Return each example's score by benchmark and example id: the mean over its responses.

    Args:
        outcomes: Benchmark, example id and ``ExampleResult.score`` of every response. Missing
            scores are left out; an example that has no other is None.
    """
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for benchmark, example_id, of_response in outcomes:
        of_example = scores[benchmark][example_id]
        if of_response is not None:
            of_example.append(of_response)
    return {
        name: {example: fmean(some) if some else None for example, some in examples.items()}
        for name, examples in sorted(scores.items())
    }


def outcomes(results: Iterable[ExampleResult]) -> dict[str, list[float | None]]:
    """Return each example's score by benchmark, in the order of the example ids.

    Trials of one sweep have the same examples, so that the lists of two can be paired.
    """
    scores = example_scores((one.benchmark, one.example_id, one.score) for one in results)
    return {name: [examples[one] for one in sorted(examples)] for name, examples in scores.items()}


def score(results: Iterable[ExampleResult]) -> dict[str, float]:
    """Return each benchmark's mean score in [0, 1], and ``mean``, their unweighted mean.

    That is accuracy where responses are right or wrong, the estimate of pass@1 where several were
    drawn, and a tenth of the mean rating where a judge rated them. Examples without a score are
    left out; a benchmark that has no other is NaN, and so is the mean then.

    Args:
        results: Of all ranks, in any order; at least one.
    """
    scores = {}
    outcomes = ((one.benchmark, one.example_id, one.score) for one in results)
    for name, examples in example_scores(outcomes).items():
        known = [one for one in examples.values() if one is not None]
        scores[name] = fmean(known) if known else math.nan
    assert scores, "a score needs results"
    return {**scores, "mean": fmean(scores.values())}


def bits_per_byte(
    references: Iterable[tuple[str, str, float | None, int | None]],
) -> dict[str, float]:
    """Return the references' bits per byte by benchmark, and ``mean``, their unweighted mean.

    Of a benchmark it is the sum of all bits over the sum of all bytes, as lm-evaluation-harness
    has ``bits_per_byte``: lower is better, and it does not depend on the tokenizer. Benchmarks
    without references are left out, also of the mean; where no benchmark has any it is empty.

    Args:
        references: Benchmark, example id, log-probability in nats and number of bytes, as
            ``ExampleResult`` has them; an example may be given several times, alike.
    """
    known: dict[str, dict[str, tuple[float, int]]] = defaultdict(dict)
    for benchmark, example_id, log_probability, num_bytes in references:
        if log_probability is not None and num_bytes is not None:
            known[benchmark][example_id] = log_probability, num_bytes
    found = {
        name: -math.fsum(one for one, _ in examples.values())
        / math.log(2)
        / sum(num_bytes for _, num_bytes in examples.values())
        for name, examples in sorted(known.items())
    }
    return {**found, MEAN: fmean(found.values())} if found else {}


def count_unparsable(results: Iterable[ExampleResult]) -> dict[str, int]:
    """Count the responses without an answer of each benchmark that reads answers."""
    counts: Counter[str] = Counter()
    for result in results:
        if result.correct is not None:
            counts[result.benchmark] += result.prediction is None
    return dict(sorted(counts.items()))


def agreement(
    some: Iterable[ExampleResult], others: Iterable[ExampleResult]
) -> dict[str, Agreement]:
    """Compare the predictions of each benchmark where both have the example."""
    predictions = {_place(one): one.prediction for one in others}
    pairs: dict[str, list[tuple[str | None, str | None]]] = defaultdict(list)
    for one in some:
        key = _place(one)
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


def _place(result: ExampleResult) -> tuple[str, str, int, int]:
    return result.benchmark, result.example_id, result.sample, result.turn


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Return the unbiased estimate of the chance that at least one of k samples is right.

    ``1 - C(n - c, k) / C(n, k)`` of arXiv 2107.03374, section 2.1, with n samples of which c are
    right: the share of the k-subsets of the samples that hold a right one. The quotient is taken
    as the product of ``1 - k / i`` for i in n - c + 1 to n, so that no factor is above 1 and none
    overflows. With n = k = 1, as in greedy decoding, it is whether the sample is right.

    Args:
        num_samples: n, at least k.
        num_correct: c, at most n.
        k: At least 1.

    Raises:
        ValueError: The numbers break one of these rules.
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(
            f"`0 <= num_correct <= num_samples` must hold, got {num_correct=}, {num_samples=}"
        )
    if not 1 <= k <= num_samples:
        raise ValueError(f"`1 <= k <= num_samples` must hold, got {k=}, {num_samples=}")
    num_wrong = num_samples - num_correct
    if num_wrong < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(num_wrong + 1, num_samples + 1))


def mean_pass_at_k(passed: Sequence[Sequence[bool]], k: int) -> float:
    """Return the mean of ``pass_at_k`` over tasks, each given as its samples' outcomes.

    Raises:
        ValueError: There is no task, or one has fewer than k samples.
    """
    if not passed:
        raise ValueError("pass@k must have at least one task, got none")
    return math.fsum(pass_at_k(len(task), sum(task), k) for task in passed) / len(passed)


def result_metrics(
    results: Sequence[ExampleResult],
    sampling: SamplingSpec | None = None,
    split: ScoredSplit = "validation",
) -> dict[str, float]:
    """Return all metrics of some results, at least one.

    * ``val/<benchmark>`` and ``val/mean``: scores in [0, 1] (see ``score``); ``confirm/`` and
      ``test/`` for the other splits, so that none is taken for another.
    * ``bits_per_byte/val/<benchmark>`` and ``bits_per_byte/val/mean``: of the references, where
      their likelihood was measured (see ``bits_per_byte``); lower is better.
    * ``unparsable/<benchmark>``: responses from which no answer could be read.
    * ``rating/<benchmark>``: a judge's mean rating over all turns' answers, 1 to 10, as MT-Bench
      is published; ``rating/<benchmark>/turn1`` and ``turn2`` are those of one turn.
      ``val/<benchmark>`` is a tenth of it, which accuracies can be averaged with.
    * ``unrated/<benchmark>``: answers without a rating; they are in no mean.
    * ``pass_at_<k>/<benchmark>``: pass@k of sampled programs, for every k of ``sampling.pass_at``
      (MLflow takes no ``@`` in a name).
    """
    metrics = {score_name(name, split): value for name, value in score(results).items()}
    metrics |= {UNPARSABLE + name: float(n) for name, n in count_unparsable(results).items()}
    metrics |= {
        likelihood_name(name, split): value
        for name, value in bits_per_byte(
            (one.benchmark, one.example_id, one.reference_log_probability, one.reference_bytes)
            for one in results
        ).items()
    }
    return {**metrics, **_ratings(results), **_pass_at_k(results, sampling)}


def _ratings(results: Iterable[ExampleResult]) -> dict[str, float]:
    judged = [one for one in results if one.correct is None]
    found: dict[str, list[float]] = defaultdict(list)
    num_missing: dict[str, float] = {}
    for one in judged:
        unrated = UNRATED + one.benchmark
        num_missing[unrated] = num_missing.get(unrated, 0.0) + (one.rating is None)
        if one.rating is not None:
            found[RATING + one.benchmark].append(one.rating)
            found[f"{RATING}{one.benchmark}/turn{one.turn}"].append(one.rating)
    return {name: fmean(some) for name, some in sorted(found.items())} | num_missing


def _pass_at_k(results: Iterable[ExampleResult], sampling: SamplingSpec | None) -> dict[str, float]:
    if sampling is None:
        return {}
    passed: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for one in results:
        if one.correct is not None:
            passed[one.benchmark][one.example_id].append(one.correct)
    return {
        f"{PASS_AT}{k}/{name}": mean_pass_at_k(list(examples.values()), k)
        for name, examples in sorted(passed.items())
        # What was not sampled has one response to each example.
        if all(len(some) == sampling.num_samples for some in examples.values())
        for k in sampling.pass_at
    }
