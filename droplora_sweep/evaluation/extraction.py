"""What a response answers under protocol ``paper``: the released rules of arXiv 2508.17337.

They follow ``utils/test_acc.py`` and ``utils/code_process.py`` of its code (TayeeChang/DropLoRA),
so that scores compare with the paper's; where a rule is a defect, its function says so. Where the
released code would stop with an error, nothing is extracted or cut.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_DELIMITER: Final = "The answer is: "
CODE_FENCE: Final = "```python"
CLOSING_FENCE: Final = "\n```"
CODE_ENDS: Final = ('if __name__ == "__main__":', "# Example usage", "assert")
_NUMBER: Final = re.compile(r"[\-+]?\d*[\.,/]?\d+")


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
    if numerator.strip("+-") == "":
        return None
    value = float(numerator)
    if denominator and float(denominator) != 0:
        value /= float(denominator)
    return round(value) if math.isfinite(value) else None


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
    program. Further fences that open a Python block inside the first are dropped, a closing fence
    counts only on a line of its own, and the first line loses its indentation. None if no code is
    left.
    """
    code = response.replace("\r", "")
    _, fence, block = code.partition(CODE_FENCE)
    if fence:
        # A response that met the token limit may lack the closing fence.
        code = block.rstrip().replace(CODE_FENCE, "").partition(CLOSING_FENCE)[0]
    for end in CODE_ENDS:
        code = code.partition(end)[0]
    return code.strip() or None
