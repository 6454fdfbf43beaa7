"""Numbers and LaTeX answers, which a response states last."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from .math_answers import same_answer, verify_answers
from .scorer import Answer, ProtocolName, Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_DELIMITER: Final = "The answer is: "
_NUMBER: Final = re.compile(r"[\-+]?\d*[\.,/]?\d+")
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
_STATEMENT: Final = re.compile(r"\banswer is\b[ \t]*:?", re.IGNORECASE)
_BOX: Final = "\\boxed"
_MATH_MARKS: Final = ("$", _BOX, "\\(", "\\[")
"""math-verify finds LaTeX by these, and takes the rest for prose."""
_DISPLAYED_FULL_STOP: Final = re.compile(r"\.(\s*(?:\$\$?|\\\]|\\\)))$")
_OPENING: Final = ("{", "\\(", "\\[", "\\begin")
_CLOSING: Final = ("}", "\\)", "\\]", "\\end")
_SENTENCE_END: Final = re.compile(r"\.(?=\s|$)|\n")
_STRUCTURE: Final = re.compile(
    r"\\(?:begin|end)(?=\{)|\\.|\$\$?|[{}]|" + _SENTENCE_END.pattern, re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class NumberScorer(Scorer):
    """Scorer of the number that a response states last."""

    question = "Ann has 3 apples and buys 4 more. How many apples has she now?"

    def gold_problem(self, gold: str) -> str | None:
        """Refuse Python's 1e3 and 1_000 too: a response's would be read as 1."""
        if _DECIMAL.fullmatch(gold.strip()) and math.isfinite(float(gold)):
            return None
        rule = "must be a number in digits, such as 1000 or 6.5, since responses are read so"
        return f"{rule}, got {gold!r}"

    def may_validate(self, gold: str) -> bool:
        """Return True for whole numbers: no response is read as another under ``paper``."""
        return float(gold).is_integer()

    def stated(self, gold: str, protocol: ProtocolName) -> str | None:
        """Return the number behind the delimiter; math-verify reads every decimal number."""
        return f"{ANSWER_DELIMITER}{gold}" if protocol == "paper" else None

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Read the number by the released rule."""
        del protocol
        number = extract_number(response)
        if number is None:
            return Answer(None, correct=False)
        return Answer(str(number), correct=number == float(gold))

    def read_all(
        self,
        responses: Sequence[str],
        golds: Sequence[str],
        protocol: ProtocolName = "paper",
        **conditions: Any,
    ) -> list[Answer]:
        """Read each response; by math-verify under ``strict``."""
        if protocol == "strict":
            texts = [where_to_read("number", response) for response in responses]
            return verify_answers(texts, golds)
        return super().read_all(responses, golds, protocol, **conditions)


@dataclass(frozen=True, kw_only=True)
class MathScorer(Scorer):
    """Scorer of the LaTeX that a response states last, in normal form or by value."""

    keeps_published_golds = True
    question = "Compute $3 + 4$."

    def stated(self, gold: str, protocol: ProtocolName) -> str:
        """Return the LaTeX behind the delimiter."""
        del protocol
        return f"{ANSWER_DELIMITER}{gold}"

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Read the LaTeX, and compare it in normal form."""
        prediction = (extract_math if protocol == "paper" else final_answer)(response)
        return Answer(prediction, prediction is not None and same_answer(prediction, gold))

    def read_all(
        self,
        responses: Sequence[str],
        golds: Sequence[str],
        protocol: ProtocolName = "paper",
        **conditions: Any,
    ) -> list[Answer]:
        """Read each response; under ``strict`` by math-verify what has no other normal form.

        What math-verify cannot parse, such as words, is the same answer if it is the same text.
        """
        answers = super().read_all(responses, golds, protocol, **conditions)
        if protocol == "paper":
            return answers
        texts = [where_to_read("math", response) for response in responses]
        verified = verify_answers(texts, golds)
        return [one if one.correct else other for one, other in zip(answers, verified, strict=True)]


def extract_number(response: str) -> int | None:
    """Return the first number after the last ``The answer is: ``, rounded; None without one.

    Defects of the protocol: "1,234,567" reads as 1234 and "0,5" as 5, "6.5" rounds to 6, a
    fraction is divided out and rounded, and one over ``0`` is its numerator. Over ``00``, as over
    any other zero, the released code would stop with an error, so nothing is read.
    """
    _, delimiter, answer = response.rpartition(ANSWER_DELIMITER)
    match = _NUMBER.search(answer) if delimiter else None
    if match is None:
        return None
    numerator, slash, denominator = match.group().replace(",", "").partition("/")
    try:
        # The pattern allows "/5", which has no numerator to divide. Whole numbers are divided as
        # such: of more than 16 digits, floats would round twice.
        if slash and denominator != "0":
            return round(int(numerator) / int(denominator))
        return round(float(numerator))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def extract_math(response: str) -> str | None:
    r"""Return the text behind the last ``The answer is: ``, up to ".\n" or the final full stop.

    None without the delimiter, or with nothing behind it. "5. So x = 5." is one answer, since only
    a full stop at a line's end ends it. ``same_answer`` compares it with the right one.
    """
    _, delimiter, answer = response.rpartition(ANSWER_DELIMITER)
    if not delimiter:
        return None
    return answer.partition(".\n")[0].strip().removesuffix(".").strip() or None


def final_answer(response: str) -> str | None:
    r"""Return the sentence behind the last ``answer is``, without its full stop.

    None without one, with nothing behind it, or where a box follows, which then has the answer.
    Of ``The answer is: \frac{1}{2}. This completes it.`` it is ``\frac{1}{2}``; a full stop
    inside of braces or between dollar signs ends none.
    """
    rest = _final_statement(response)
    if rest is None or _BOX in rest:
        return None
    return _first_sentence(rest) or None


def where_to_read(kind: Literal["number", "math"], response: str) -> list[str]:
    """Return texts that may hold the answer, in the order in which they are tried.

    What is stated last counts: the sentence behind the last ``answer is``, or a box behind that.
    Only where math-verify finds nothing there does it look through the whole response, in which it
    prefers a box to all else.
    """
    rest = _final_statement(response)
    if rest is None:
        return [response]
    if _BOX in rest:
        return [rest, response]
    answer = _first_sentence(rest)
    if any(mark in answer for mark in _MATH_MARKS):
        # Displayed at a sentence's end, LaTeX holds the full stop.
        answer = _DISPLAYED_FULL_STOP.sub(r"\1", answer)
        return [answer, f"The answer is: {answer}", response]
    in_prose = [f"The answer is: {answer}"] if answer else []
    in_latex = [f"${answer}$"] if answer and kind == "math" else []
    return [*in_latex, *in_prose, response]


def _final_statement(response: str) -> str | None:
    statements = list(_STATEMENT.finditer(response))
    return response[statements[-1].end() :].strip() if statements else None


def _first_sentence(text: str) -> str:
    depth, is_in_dollars = 0, False
    for match in _STRUCTURE.finditer(text):
        part = match.group()
        if part in _OPENING:
            depth += 1
        elif part in _CLOSING:
            depth -= 1
        elif part[0] == "$":
            is_in_dollars = not is_in_dollars
        elif part in (".", "\n") and depth <= 0 and not is_in_dollars:
            return text[: match.start()].strip()
    if depth > 0 or is_in_dollars:
        # What is never closed opens nothing: "$18 each. So ..." is money.
        return _SENTENCE_END.split(text, maxsplit=1)[0].strip()
    return text
