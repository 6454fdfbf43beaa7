"""Answers that no response can match, because the protocol reads none that way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import Fault

from .answers import judge
from .extraction import ANSWER_DELIMITER

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from droplora_sweep.spec.evaluation import ProtocolName
    from droplora_sweep.tasks import Benchmark, Task

_STATED: Final = {"number": ANSWER_DELIMITER, "math": ANSWER_DELIMITER, "choice": "", "exact": ""}
"""What stands before an answer in a response that says it and nothing else."""


def check_golds(task: Task, protocol: ProtocolName, published: Collection[str] = ()) -> list[Fault]:
    """One fault for each benchmark that is scored on an answer no response can match.

    Args:
        task: Its scored splits are looked at, test included.
        protocol: How responses are read.
        published: Benchmarks whose LaTeX is left as it is: what the released rules cannot read of
            MATH counts as wrong in the paper's numbers too.
    """
    faults = []
    for benchmark in task.benchmarks:
        if benchmark.scoring == "math" and benchmark.name in published:
            continue
        scored = (*benchmark.validation, *benchmark.confirmation, *benchmark.test())
        golds = list(dict.fromkeys(example.answer for example in scored))
        unmatched = unmatched_golds(benchmark, golds, protocol)
        if unmatched:
            faults.append(_fault(benchmark, golds, unmatched, protocol))
    return faults


def unmatched_golds(
    benchmark: Benchmark, golds: Sequence[str], protocol: ProtocolName
) -> list[str]:
    """The answers that a response which says them is not read as; none of code and patterns."""
    before = _STATED.get(benchmark.scoring)
    if before is None:
        return []
    if benchmark.scoring == "number" and protocol == "strict":
        # math-verify reads every decimal number, and nothing else passes for one (`tasks.reading`).
        return []
    answers = judge(benchmark, [f"{before}{gold}" for gold in golds], golds, protocol=protocol)
    return [gold for gold, answer in zip(golds, answers, strict=True) if not answer.correct]


def _fault(
    benchmark: Benchmark, golds: Sequence[str], unmatched: list[str], protocol: ProtocolName
) -> Fault:
    other: ProtocolName = "strict" if protocol == "paper" else "paper"
    got = (
        f"with {protocol} no response can match {len(unmatched)} of its {len(golds)} different "
        f"answers, the first {unmatched[0]!r}"
    )
    if not unmatched_golds(benchmark, unmatched, other):
        problem = f"must be {other} for {benchmark.name}, got {protocol}: {got}"
        return Fault("", "evaluation.protocol", problem)
    place = f"task.benchmarks.{benchmark.name}"
    return Fault("", place, f"must have answers as a response is read: {got}")
