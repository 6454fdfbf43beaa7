"""Answers as the protocols read them: ``paper`` (released rules of arXiv 2508.17337), ``strict``.

The rules of ``paper`` follow ``utils/test_acc.py`` and ``utils/code_process.py`` of the released
code (TayeeChang/DropLoRA), so that scores compare with the paper's; where a rule is a defect, its
function says so. Where the released code would stop with an error, nothing is extracted or cut.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


RELEASED_OPTIONS: Final = frozenset(
    {
        ("true", "false"),
        ("solution1", "solution2"),
        ("answer1", "answer2", "answer3", "answer4", "answer5"),
        ("ending1", "ending2", "ending3", "ending4"),
        ("option1", "option2"),
    }
)
"""The options that the released rules name; whatever a response says around one does not count."""
ANSWER_DELIMITER: Final = "The answer is: "
CODE_FENCE: Final = "```python"
CLOSING_FENCE: Final = "\n```"
CODE_ENDS: Final = ('if __name__ == "__main__":', "# Example usage", "assert")
_NUMBER: Final = re.compile(r"[\-+]?\d*[\.,/]?\d+")


def extract_choice(response: str, options: Sequence[str]) -> str | None:
    """The first option that the response holds, case-sensitively; None without one.

    "The correct answer is answer3, not answer1" answers ``answer3``. The released rules look for
    their own options anywhere, inside of words too: "untrue" answers ``true`` and "answer12"
    ``answer1``. Any other option is only read where it stands by itself, so that neither
    ``class1`` is read from "class10" nor ``A`` from "Answer"; of two that begin at the same place
    the longer one is read.
    """
    if tuple(options) in RELEASED_OPTIONS:
        match = re.search("|".join(map(re.escape, options)), response)
        return match.group() if match else None
    found = next(find_options(response, options), None)
    return None if found is None else found[1]


def find_options(response: str, options: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Where each option first stands by itself, the first one first, and of two the longer."""
    places = (
        (start, -len(option), option)
        for option in options
        for start in _places(response, option)
        if stands_alone(response, start, start + len(option))
    )
    return ((start, option) for start, _, option in sorted(places))


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether neither a word nor a number goes on over an end of this part of the text.

    Letters without upper and lower case count as signs of their own: Chinese has no spaces.
    """
    return not _goes_on(text, start) and not _goes_on(text, end)


def _goes_on(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if _is_of_a_word(before) and _is_of_a_word(after):
        return True
    # In "1.5" and "10,000" the mark is a part of the number.
    if after in ".,":
        return before.isdecimal() and text[place + 1 : place + 2].isdecimal()
    return before in ".," and after.isdecimal() and text[place - 2 : place - 1].isdecimal()


def _is_of_a_word(character: str) -> bool:
    return character == "_" or (
        character.isalnum() and unicodedata.category(character) not in ("Lo", "No")
    )


def _places(text: str, part: str) -> Iterator[int]:
    start = text.find(part)
    while start >= 0:
        yield start
        start = text.find(part, start + 1)


def extract_number(response: str) -> int | None:
    """The first number after the last ``The answer is: ``, rounded; None without one.

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
    r"""What follows the last ``The answer is: ``, up to ".\n" or the final full stop.

    None without the delimiter, or with nothing behind it. "5. So x = 5." is one answer, since only
    a full stop at a line's end ends it. ``latex.same_answer`` compares it with the gold.
    """
    _, delimiter, answer = response.rpartition(ANSWER_DELIMITER)
    if not delimiter:
        return None
    return answer.partition(".\n")[0].strip().removesuffix(".").strip() or None


def extract_code(response: str) -> str | None:
    """The first Python block, or else the whole response, cut before its own demonstration.

    The cut is at the first ``if __name__ == "__main__":``, ``# Example usage`` or ``assert``,
    wherever it stands: a docstring that holds the word "assert" loses its end, and with it the
    program. Further fences that open a Python block inside the first are dropped, and a closing
    fence counts only on a line of its own. What was cut at its end, by a closing fence too, loses
    its outer white space: the first line's indentation with it. A response without any of these
    is code as it is, so that the indented body of a function stays one. None if no code is left.
    """
    code = response.replace("\r", "")
    _, fence, block = code.partition(CODE_FENCE)
    if fence:
        # A response that met the token limit may lack the closing fence.
        code, closing, _ = block.rstrip().replace(CODE_FENCE, "").partition(CLOSING_FENCE)
        code = code.strip() if closing else code
    for end in CODE_ENDS:
        before, cut, _ = code.partition(end)
        code = before.strip() if cut else code
    return code if code.strip() else None


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
