"""Whether responses are right, by scoring and protocol; gold answers that no response can match."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from droplora_sweep.errors import Fault

from . import extraction as strict
from .code_runner import run_programs
from .extraction import ANSWER_DELIMITER, extract_choice, extract_code, extract_math, extract_number
from .math_answers import same_answer, verify_answers

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from droplora_sweep.spec.evaluation import ProtocolName
    from droplora_sweep.tasks.task import Benchmark, Task


@dataclass(frozen=True)
class Answer:
    """What a response was read as; ``prediction`` is None if nothing was extracted."""

    prediction: str | None
    correct: bool


def judge(
    benchmark: Benchmark,
    responses: Sequence[str],
    golds: Sequence[str],
    *,
    protocol: ProtocolName = "paper",
    preambles: Sequence[str] | None = None,
    allow_unsandboxed_code: bool = False,
) -> list[Answer]:
    """One answer per response, compared with ``Example.answer``.

    ======== ========================================== =====================================
    scoring  paper                                      strict
    ======== ========================================== =====================================
    choice   the first option in the response           the option that the whole response is
    number   after the last ``The answer is: ``         math-verify
    math     as number, same text in normal form        math-verify, or as paper
    code     the first Python block, else everything    the first Python block
    exact    the whole response, without outer spaces   the same
    regex    ``benchmark.pattern``'s first match        the same
    ======== ========================================== =====================================

    Code answers are run with their tests, see ``run_programs``.

    Args:
        benchmark: Says how its answers are scored.
        responses: What a model said.
        golds: ``Example.answer`` of each.
        protocol: How responses are read.
        preambles: For code, what each program needs in front of the response; none where None.
        allow_unsandboxed_code: Run code answers even where there is no sandbox.
    """
    if benchmark.scoring == "code":
        return _code(
            responses, golds, preambles or [""] * len(golds), protocol, allow_unsandboxed_code
        )
    if protocol == "strict" and benchmark.scoring in ("number", "math"):
        return _verified(benchmark, responses, golds)
    return [
        _text(benchmark, response, gold, protocol)
        for response, gold in zip(responses, golds, strict=True)
    ]


def _text(benchmark: Benchmark, response: str, gold: str, protocol: ProtocolName) -> Answer:
    """What is judged by its text alone."""
    scoring: str = benchmark.scoring
    if scoring == "choice":
        read = extract_choice if protocol == "paper" else strict.read_choice
        prediction = read(response, benchmark.options)
    elif scoring == "number":
        number = extract_number(response)
        return Answer(
            None if number is None else str(number), number is not None and number == float(gold)
        )
    elif scoring == "math":
        prediction = extract_math(response)
        return Answer(prediction, prediction is not None and same_answer(prediction, gold))
    elif scoring == "exact":
        prediction = response.strip() or None
    else:
        assert scoring == "regex", f"no rule for {scoring}"
        prediction = _first_group(getattr(benchmark, "pattern", ""), response)
    return Answer(prediction, prediction == gold)


def _first_group(pattern: str, response: str) -> str | None:
    match = re.search(pattern, response)
    if match is None:
        return None
    return match.group(1) if match.re.groups else match.group()


def _verified(benchmark: Benchmark, responses: Sequence[str], golds: Sequence[str]) -> list[Answer]:
    kind: Literal["number", "math"] = "math" if benchmark.scoring == "math" else "number"
    answers = []
    for verdict, response, gold in zip(
        verify_answers(kind, responses, golds), responses, golds, strict=True
    ):
        # What math-verify cannot parse, such as words, is the same answer if it is the same text.
        text = strict.final_answer(response) if kind == "math" else None
        if text is not None and same_answer(text, gold):
            answers.append(Answer(text, correct=True))
        else:
            answers.append(Answer(verdict.prediction, verdict.correct))
    return answers


def _code(
    responses: Sequence[str],
    golds: Sequence[str],
    preambles: Sequence[str],
    protocol: ProtocolName,
    allow_unsandboxed_code: bool,
) -> list[Answer]:
    extract = extract_code if protocol == "paper" else strict.read_code
    codes = [extract(response) for response in responses]
    programs = [
        None if code is None else f"{preamble}{code}\n\n{tests}\n"
        for preamble, code, tests in zip(preambles, codes, golds, strict=True)
    ]
    passed = run_programs(
        (program for program in programs if program is not None),
        allow_unsandboxed=allow_unsandboxed_code,
    )
    return [
        Answer(code, program is not None and passed[program])
        for code, program in zip(codes, programs, strict=True)
    ]


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
