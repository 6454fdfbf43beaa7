"""What a response answers, by the extraction rules of arXiv 2508.17337 (its released code).

They are kept as they are, so that scores compare with the paper's; where a rule is a defect, its
function says so.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_DELIMITER: Final = "The answer is: "
_NUMBER: Final = re.compile(r"[\-+]?\d*[\.,/]?\d+")
_CODE_FENCE: Final = "```python"
_CODE_ENDS: Final = ("if __name__", "# Example usage", "assert")


def extract_choice(response: str, options: Sequence[str]) -> str | None:
    """The first option that the response holds, anywhere and case-sensitively; None without one.

    "The correct answer is answer3, not answer1" answers ``answer3``; "not true" answers ``true``.
    """
    match = re.search("|".join(map(re.escape, options)), response)
    return match.group() if match else None


def extract_number(response: str) -> int | None:
    """The first number after the last ``The answer is: ``, rounded; None without one.

    Defects of the protocol: "1,234,567" reads as 1234 and "0,5" as 5, "6.5" rounds to 6, a
    fraction is divided out and rounded, and one with a zero denominator is its numerator.
    """
    _, delimiter, answer = response.rpartition(ANSWER_DELIMITER)
    match = _NUMBER.search(answer) if delimiter else None
    if match is None:
        return None
    numerator, _, denominator = match.group().replace(",", "").partition("/")
    # The pattern allows "/5", which has no numerator to divide.
    if not numerator:
        return None
    value = float(numerator)
    if denominator and float(denominator) != 0:
        value /= float(denominator)
    return round(value) if math.isfinite(value) else None


def extract_code(response: str) -> str | None:
    """The first Python block, cut before its own demonstration; None without a block.

    The cut is at the first ``if __name__``, ``# Example usage`` or ``assert``, wherever it stands:
    a docstring that holds the word "assert" loses its end, and with it the program.
    """
    _, fence, rest = response.partition(_CODE_FENCE)
    if not fence:
        return None
    # A response that met the token limit may lack the closing fence.
    code = rest.partition("```")[0]
    for end in _CODE_ENDS:
        code = code.partition(end)[0]
    return code.strip("\n")
