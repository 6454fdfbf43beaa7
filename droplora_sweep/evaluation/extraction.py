"""What a response answers under protocol ``paper``: the released rules of arXiv 2508.17337.

They follow ``utils/test_acc.py`` and ``utils/code_process.py`` of its code (TayeeChang/DropLoRA),
so that scores compare with the paper's; where a rule is a defect, its function says so. Where the
released code would stop with an error, nothing is extracted or cut.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

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
