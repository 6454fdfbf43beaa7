"""Right answers of a task: their faults, and the scores of guessing them."""

from __future__ import annotations

import re
from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault
from droplora_sweep.scorers.corpus_metrics import CORPUS_METRICS
from droplora_sweep.scorers.corpus_metrics import MAX_LABELS as MAX_CORPUS_LABELS
from droplora_sweep.scorers.scorer import Response, ScoringError, read_responses

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from droplora_sweep.scorers.scorer import ProtocolName, Scorer

    from .task import Benchmark, Example, Task


def gold_problems(gold: str, scorer: Scorer | None) -> list[str]:
    """Return why no response could lead to this answer; nothing where none is compared with it."""
    if scorer is None or scorer.is_rated:
        return []
    problem = scorer.gold_problem(gold) or ("" if gold.strip() else "must not be empty")
    return [f"answer: {problem}"] if problem else []


def check_golds(task: Task, protocol: ProtocolName, published: Collection[str] = ()) -> list[Fault]:
    """One fault for each benchmark that is scored on an answer no response can match.

    Args:
        task: Its scored splits are looked at, test included.
        protocol: Rules by which responses are read.
        published: Benchmarks whose LaTeX is left as it is: what the released rules cannot read of
            MATH counts as wrong in the paper's numbers too.
    """
    faults = []
    for benchmark in task.benchmarks:
        if benchmark.scorer.keeps_published_golds and benchmark.name in published:
            continue
        scored = (*benchmark.validation, *benchmark.confirmation, *benchmark.test())
        golds = list(dict.fromkeys(example.answer for example in scored))
        unmatched = _unmatched(benchmark.scorer, golds, protocol)
        if unmatched:
            faults.append(_fault(benchmark, golds, unmatched, protocol))
    return faults


NUM_TRIED = 4
"""Number of a benchmark's reference responses that a user's scorer is tried on."""


def check_own_scorers(task: Task, protocol: ProtocolName) -> list[Fault]:
    """Return a fault for each scorer of a user's that cannot score a few reference responses.

    What it makes of them is its own affair.
    """
    faults = []
    for benchmark in task.benchmarks:
        if not benchmark.scorer.is_own:
            continue
        examples = (*benchmark.validation, *benchmark.train)[:NUM_TRIED] or benchmark.test()
        responses = [
            Response(
                one.output or one.answer,
                one.answer,
                one.digest,
                one.instruction if benchmark.is_chat else benchmark.render_prompt(one),
            )
            for one in examples[:NUM_TRIED]
        ]
        try:
            read_responses(benchmark.scorer, responses, protocol)
        except ScoringError as error:
            faults.append(Fault("", f"task.benchmarks.{benchmark.name}.scoring", str(error)))
    return faults


def check_labels(task: Task) -> list[Fault]:
    """Return a fault for each benchmark with a metric of labels whose answers are none."""
    faults = []
    for benchmark in task.benchmarks:
        wanted = [name for name in benchmark.metrics if CORPUS_METRICS[name].needs_labels]
        num = len({one.answer for one in (*benchmark.validation, *benchmark.confirmation)})
        if wanted and num > MAX_CORPUS_LABELS:
            problem = (
                f"must have at most {MAX_CORPUS_LABELS} different right answers for {wanted[0]}, "
                f"got {num}"
            )
            faults.append(Fault("", f"task.benchmarks.{benchmark.name}.metrics", problem))
    return faults


def _unmatched(scorer: Scorer, golds: Sequence[str], protocol: ProtocolName) -> list[str]:
    """Return the answers that a response which states them is not read as."""
    stated = {gold: text for gold in golds if (text := scorer.stated(gold, protocol)) is not None}
    answers = scorer.read_all(list(stated.values()), list(stated), protocol)
    return [gold for gold, answer in zip(stated, answers, strict=True) if not answer.correct]


def _fault(
    benchmark: Benchmark, golds: Sequence[str], unmatched: list[str], protocol: ProtocolName
) -> Fault:
    other: ProtocolName = "strict" if protocol == "paper" else "paper"
    got = (
        f"with {protocol} no response can match {len(unmatched)} of its {len(golds)} different "
        f"answers, the first {unmatched[0]!r}"
    )
    if not _unmatched(benchmark.scorer, unmatched, other):
        problem = f"must be {other} for {benchmark.name}, got {protocol}: {got}"
        return Fault("", "evaluation.protocol", problem)
    place = f"task.benchmarks.{benchmark.name}"
    return Fault("", place, f"must have answers as a response is read: {got}")


MAX_LABELS = 10
"""Number of different texts up to which texts are a closed set of answers."""
MIN_PER_LABEL = 5
"""Number of times that each of them has to be the right one, on average."""

ANSWER_FORMAT = re.compile(r"answer format:\s*(\S+)", re.IGNORECASE)
"""Pattern of an example's own options, as LLM-Adapters has them: ``answer1/answer2/answer3``."""


def most_frequent_answer(
    benchmark: Benchmark, examples: Sequence[Example]
) -> tuple[str, float] | None:
    """Return the answer that is right most often, and the share of examples that it is right for.

    Args:
        benchmark: The data set.
        examples: One of its splits.

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
    """Return the expected score of a blind guess among each example's options.

    Args:
        benchmark: The data set.
        examples: One of its splits.

    Returns:
        None where the benchmark is no multiple choice.
    """
    options = benchmark.scorer.closed_answers
    if not options or not examples:
        return None
    return fmean(1 / _num_options(options, example) for example in examples)


def _is_closed(benchmark: Benchmark, counts: Counter[str]) -> bool:
    if benchmark.scorer.closed_answers:
        return True
    return benchmark.scorer.compares_text and len(counts) <= min(
        MAX_LABELS, counts.total() // MIN_PER_LABEL
    )


def _num_options(options: Sequence[str], example: Example) -> int:
    """Options of one example: some benchmarks have questions with fewer than all."""
    found = ANSWER_FORMAT.findall(f"{example.instruction}\n{example.input}")
    named = set(found[-1].rstrip(".").split("/")) if found else set()
    is_list = len(named) > 1 and named <= set(options) and example.answer in named
    return len(named) if is_list else len(options)
