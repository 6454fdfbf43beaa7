"""Whether responses are right, by their benchmark's scoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .code_runner import run_programs
from .extraction import extract_choice, extract_code, extract_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.tasks import Benchmark


@dataclass(frozen=True)
class Answer:
    """What a response was read as; ``prediction`` is None if nothing was extracted."""

    prediction: str | None
    correct: bool


def judge(benchmark: Benchmark, responses: Sequence[str], golds: Sequence[str]) -> list[Answer]:
    """One answer per response, compared with ``Example.answer``.

    Code answers are run with their tests, see ``run_programs``.
    """
    if benchmark.scoring == "choice":
        return [
            _choice(response, gold, benchmark.options)
            for response, gold in zip(responses, golds, strict=True)
        ]
    if benchmark.scoring == "number":
        return [_number(response, gold) for response, gold in zip(responses, golds, strict=True)]
    return _code(responses, golds)


def _choice(response: str, gold: str, options: tuple[str, ...]) -> Answer:
    prediction = extract_choice(response, options)
    return Answer(prediction, prediction == gold)


def _number(response: str, gold: str) -> Answer:
    number = extract_number(response)
    if number is None:
        return Answer(None, correct=False)
    return Answer(str(number), number == float(gold))


def _code(responses: Sequence[str], golds: Sequence[str]) -> list[Answer]:
    codes = [extract_code(response) for response in responses]
    programs = [
        None if code is None else f"{code}\n\n{tests}\n"
        for code, tests in zip(codes, golds, strict=True)
    ]
    passed = run_programs(program for program in programs if program is not None)
    return [
        Answer(code, program is not None and passed[program])
        for code, program in zip(codes, programs, strict=True)
    ]
