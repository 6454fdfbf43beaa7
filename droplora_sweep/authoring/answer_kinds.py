"""Kind of the right answers of a data set, which decides how responses are scored."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from droplora_sweep.scorers.table import make_scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_OPTIONS: Final = 26
"""Most different answers that are taken for options; the letters are as many."""
MIN_PER_OPTION: Final = 4
"""Number of times that each of them is the right one, on average."""
MAX_OPTION_CHARACTERS: Final = 40
MAX_EXACT_CHARACTERS: Final = 60
"""Longer answers are seldom given word by word."""
MAX_OTHERS: Final = 0.1
"""Share of answers among numbers that may be none: their records are left out, and said."""


class AnswerKind(StrEnum):
    """Kind of the right answers, by the name that its scoring has in a file, but for ``text``."""

    CHOICE = "choice"
    NUMBER = "number"
    MATH = "math"
    CODE = "code"
    EXACT = "exact"
    TEXT = "text"


@dataclass(frozen=True)
class Answers:
    """Right answers of a data set, as far as they tell how to score.

    Attributes:
        kind: Their kind.
        options: Every option, for ``choice``, in the order of the alphabet.
        why: What was seen, in words.
    """

    kind: AnswerKind
    options: tuple[str, ...]
    why: str


def kind_of_answers(answers: Sequence[str]) -> Answers:
    r"""Return the kind of these right answers.

    A few short answers that come back again and again are options; numbers are numbers; LaTeX is
    math; other short ones are compared as they are, and long ones are text.

    >>> kind_of_answers(["yes", "no"] * 8).options
    ('no', 'yes')
    >>> kind_of_answers([str(17 * number) for number in range(20)]).kind.value
    'number'
    >>> kind_of_answers([rf"\\frac{{{number}}}{{3}}" for number in range(20)]).kind.value
    'math'
    """
    given = [answer.strip() for answer in answers if answer.strip()]
    if not given:
        return Answers(AnswerKind.TEXT, (), "no record has an answer")
    counts = Counter(given)
    is_closed = (
        2 <= len(counts) <= min(MAX_OPTIONS, len(given) // MIN_PER_OPTION)
        and max(map(len, counts)) <= MAX_OPTION_CHARACTERS
    )
    if is_closed:
        options = tuple(sorted(counts))
        return Answers(AnswerKind.CHOICE, options, f"{len(options)} answers come back")
    if _share(given, "number") >= 1 - MAX_OTHERS:
        return Answers(AnswerKind.NUMBER, (), "the answers are numbers")
    num_latex = sum("\\" in answer or "^" in answer or "$" in answer for answer in given)
    longest_usual = statistics.median(map(len, given))
    if num_latex > len(given) / 10 and longest_usual <= MAX_EXACT_CHARACTERS:
        return Answers(AnswerKind.MATH, (), "the answers hold LaTeX")
    if longest_usual <= MAX_EXACT_CHARACTERS:
        return Answers(AnswerKind.EXACT, (), "the answers are short, and differ")
    return Answers(AnswerKind.TEXT, (), "the answers are longer texts")


def _share(answers: Sequence[str], scoring: str) -> float:
    """Return the share of answers that this scoring can match."""
    scorer = make_scorer(scoring)
    return statistics.fmean(scorer.gold_problem(answer) is None for answer in answers)
