"""Answers as protocol ``strict`` reads them; ``math_verifier`` compares numbers and LaTeX."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_PREFIX: Final = "the correct answer is "
"""Comes before the option in every response of the LLM-Adapters choice data."""
OPENING_FENCE: Final = re.compile(r"^```(?:python|py)[ \t]*\n", re.MULTILINE)
STRICT_CLOSING_FENCE: Final = re.compile(r"^```", re.MULTILINE)
_DEMONSTRATION: Final = re.compile(
    r"^(?:if __name__\b|# Example usage|assert\b).*", re.MULTILINE | re.DOTALL
)
_SPACE: Final = " \t\r\n"
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


def read_choice(response: str, options: Sequence[str]) -> str | None:
    """The option that the whole response is; None if it says anything else.

    ``the correct answer is`` may stand before the option and a full stop behind it; spaces around
    do not count, upper and lower case do.
    """
    answer = response.strip(_SPACE).removeprefix(ANSWER_PREFIX)
    # An option may itself end in a full stop, as "p.m." does.
    return next((one for one in (answer, answer.removesuffix(".")) if one in options), None)


def may_become_choice(response: str, options: Sequence[str]) -> bool:
    """Whether some continuation of the response is a choice, or it is one itself."""
    started = response.lstrip(_SPACE)
    forms = (f"{prefix}{option}." for prefix in ("", ANSWER_PREFIX) for option in options)
    return any(form.startswith(started) for form in forms) or (
        read_choice(response, options) is not None
    )


def final_answer(response: str) -> str | None:
    r"""The sentence behind the last ``answer is``, without its full stop.

    None without one, with nothing behind it, or where a box follows, which then has the answer.
    Of ``The answer is: \frac{1}{2}. This completes it.`` it is ``\frac{1}{2}``; a full stop
    inside of braces or between dollar signs ends none.
    """
    rest = _final_statement(response)
    if rest is None or _BOX in rest:
        return None
    return _first_sentence(rest) or None


def where_to_read(kind: Literal["number", "math"], response: str) -> list[str]:
    """Texts that may hold the answer, in the order in which they are tried.

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


def read_code(response: str) -> str | None:
    """The first block fenced as Python, without the demonstration at its end; None without one.

    A fence stands at the start of a line. The demonstration begins at the first unindented ``if
    __name__``, ``# Example usage`` or ``assert``, so that the same words inside a function or a
    docstring are kept. A block that met the token limit may lack its closing fence.
    """
    opening = OPENING_FENCE.search(response)
    if opening is None:
        return None
    code = STRICT_CLOSING_FENCE.split(response[opening.end() :], maxsplit=1)[0]
    return _DEMONSTRATION.sub("", code, count=1).strip("\n")
