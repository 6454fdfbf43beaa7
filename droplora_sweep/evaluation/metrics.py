"""Metrics of an evaluation, by the names that reports and MLflow use; pass@k among them."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from droplora_sweep.spec.metric_names import PASS_AT, RATING, UNPARSABLE, UNRATED, score_name

from .results import count_unparsable, score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from droplora_sweep.spec.evaluation import SamplingSpec
    from droplora_sweep.tasks.task import ScoredSplit

    from .results import ExampleResult


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
