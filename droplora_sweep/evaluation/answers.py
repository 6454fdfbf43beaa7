"""Whether responses are right, by their benchmark's scoring and the protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from . import strict
from .code_runner import run_programs
from .extraction import extract_choice, extract_code, extract_math, extract_number
from .latex import same_answer
from .math_verifier import verify_answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.spec.evaluation import ProtocolName
    from droplora_sweep.tasks import Benchmark


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
