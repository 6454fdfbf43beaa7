r"""When two LaTeX answers are the same text, as the MATH benchmark compares them.

The normal form is the one of the benchmark's authors (arXiv 2103.03874, ``math_equivalence``) in
the variant that arXiv 2508.17337 released: spacing, units, degrees, per cent and currency signs
go, ``\frac12`` and ``1/2`` become ``\frac{1}{2}``, ``\sqrt2`` becomes ``\sqrt{2}``.
"""

from __future__ import annotations

import re
from typing import Final

_REPLACEMENTS: Final = (
    ("\n", ""),
    ("\\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("\\left", ""),
    ("\\right", ""),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\$", ""),
)
"""In this order: each sees what those before it left."""
_UNIT: Final = "\\text{ "
_SQRT: Final = "\\sqrt"
_FRAC: Final = "\\frac"


def same_answer(prediction: str, gold: str) -> bool:
    """Whether the normal forms are equal; the texts themselves, if either has no normal form."""
    try:
        return normal_form(prediction) == normal_form(gold)
    except ValueError:
        return prediction == gold


def normal_form(answer: str) -> str:
    r"""The answer in the one way that all its spellings here have in common.

    Raises:
        ValueError: It has none: two units, a root or fraction of nothing, or one slash between
            parts that are not integers.
    """
    for old, new in _REPLACEMENTS:
        answer = answer.replace(old, new)
    answer = _without_unit(answer).replace("\\%", "")
    answer = answer.replace(" .", " 0.").replace("{.", "{0.")
    if answer.startswith("."):
        answer = f"0{answer}"
    answer = _with_braced_roots(_without_variable(answer)).replace(" ", "")
    answer = _with_braced_fractions(answer)
    if answer == "0.5":
        return "\\frac{1}{2}"
    return _with_fraction_for_slash(answer)


def _without_unit(answer: str) -> str:
    r"""``5 \text{ cm}`` gives ``5 ``."""
    if answer.count(_UNIT) > 1:
        raise ValueError(f"a LaTeX answer must have at most one unit, got {answer!r}")
    return answer.partition(_UNIT)[0]


def _without_variable(answer: str) -> str:
    """``k = 5`` gives `` 5``."""
    left, _, right = answer.partition("=")
    return right if answer.count("=") == 1 and len(left) <= 2 else answer


def _with_braced_roots(answer: str) -> str:
    first, *arguments = answer.split(_SQRT)
    if not all(arguments):
        raise ValueError(f"a LaTeX root must have an argument, got {answer!r}")
    braced = [
        argument if argument.startswith("{") else f"{{{argument[0]}}}{argument[1:]}"
        for argument in arguments
    ]
    return _SQRT.join([first, *braced])


def _with_braced_fractions(answer: str) -> str:
    first, *arguments = answer.split(_FRAC)
    for argument in arguments:
        if not argument:
            raise ValueError(f"a LaTeX fraction must have arguments, got {answer!r}")
        if len(argument) == 1 and argument != "{":
            return answer
    return _FRAC.join([first, *map(_braced_fraction, arguments)])


def _braced_fraction(arguments: str) -> str:
    """``12 + 3`` gives ``{1}{2} + 3``."""
    numerator, rest = arguments[0], arguments[1:]
    if numerator == "{":
        return arguments
    if rest.startswith("{"):
        return f"{{{numerator}}}{rest}"
    return f"{{{numerator}}}{{{rest[0]}}}{rest[1:]}"


def _with_fraction_for_slash(answer: str) -> str:
    if answer.count("/") != 1:
        return answer
    parts = answer.split("/")
    # int() refuses what is no number; what it reads but would write otherwise stays as it is.
    numerator, denominator = (str(int(part)) for part in parts)
    if [numerator, denominator] != parts:
        return answer
    return re.sub(r"(.*)/(.*)", r"\\frac{\1}{\2}", answer)
