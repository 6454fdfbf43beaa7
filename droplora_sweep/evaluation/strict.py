"""What a response answers under protocol ``strict``; numbers and LaTeX are ``math_verifier``'s."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWER_PREFIX: Final = "the correct answer is "
"""Comes before the option in every response of the LLM-Adapters choice data."""
OPENING_FENCE: Final = re.compile(r"^```(?:python|py)[ \t]*\n", re.MULTILINE)
CLOSING_FENCE: Final = re.compile(r"^```", re.MULTILINE)
_DEMONSTRATION: Final = re.compile(
    r"^(?:if __name__\b|# Example usage|assert\b).*", re.MULTILINE | re.DOTALL
)
_SPACE: Final = " \t\r\n"


def read_choice(response: str, options: Sequence[str]) -> str | None:
    """The option that the whole response is; None if it says anything else.

    ``the correct answer is`` may stand before the option and a full stop behind it; spaces around
    do not count, upper and lower case do.
    """
    answer = response.strip(_SPACE).removesuffix(".").removeprefix(ANSWER_PREFIX)
    return answer if answer in options else None


def may_become_choice(response: str, options: Sequence[str]) -> bool:
    """Whether some continuation of the response is a choice, or it is one itself."""
    started = response.lstrip(_SPACE)
    forms = (f"{prefix}{option}." for prefix in ("", ANSWER_PREFIX) for option in options)
    return any(form.startswith(started) for form in forms) or (
        read_choice(response, options) is not None
    )


def read_code(response: str) -> str | None:
    """The first block fenced as Python, without the demonstration at its end; None without one.

    A fence stands at the start of a line. The demonstration begins at the first unindented ``if
    __name__``, ``# Example usage`` or ``assert``, so that the same words inside a function or a
    docstring are kept. A block that met the token limit may lack its closing fence.
    """
    opening = OPENING_FENCE.search(response)
    if opening is None:
        return None
    code = CLOSING_FENCE.split(response[opening.end() :], maxsplit=1)[0]
    return _DEMONSTRATION.sub("", code, count=1).strip("\n")
