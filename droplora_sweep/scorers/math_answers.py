r"""Mathematical answers compared: as the MATH benchmark does, and by value (math-verify).

The normal form is the one of the benchmark's authors (arXiv 2103.03874, ``math_equivalence``) in
the variant that arXiv 2508.17337 released: spacing, units, degrees, per cent and currency signs
go, ``\frac12`` and ``1/2`` become ``\frac{1}{2}``, ``\sqrt2`` becomes ``\sqrt{2}``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import DropLoRASweepError

from .scorer import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    """Return True if the normal forms are equal, or the texts where one has no normal form."""
    try:
        return normal_form(prediction) == normal_form(gold)
    except ValueError:
        return prediction == gold


def normal_form(answer: str) -> str:
    r"""Return the answer in the one way that all its spellings here have in common.

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


TIME_LIMIT_S: Final = 30.0
"""Wall-clock time of one comparison; math-verify's own limits, 5 s a step, come first if they
can: a power tower is computed in one step that no signal interrupts."""
START_LIMIT_S: Final = 120.0
"""Wall-clock time until the process has imported sympy; half a second on a quiet machine."""

_SERVER: Final = Path(__file__).with_name("_math_server.py")


def verify_answers(texts: Sequence[Sequence[str]], golds: Sequence[str]) -> list[Answer]:
    r"""Compare each response with its right answer by value.

    Equal are ``1,234`` and ``1234.0``, ``0.5`` and ``\frac{1}{2}``, ``2\sqrt{3}`` and
    ``\sqrt{12}``, ``5 \text{ cm}`` and ``5``.

    Args:
        texts: Places of each response that may hold its answer, in the order of trying.
        golds: A number or a LaTeX expression each.

    Raises:
        DropLoRASweepError: math-verify cannot be imported.
    """
    requests = [
        json.dumps({"texts": some, "gold": gold}) for some, gold in zip(texts, golds, strict=True)
    ]
    answers: list[Answer] = []
    while len(answers) < len(requests):
        answers += _serve(requests[len(answers) :])
        if len(answers) < len(requests):
            answers.append(Answer(None, correct=False))
    return answers


def _serve(requests: list[str]) -> list[Answer]:
    """The answers in order, up to the first that took too long or the server down."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as requested:
        requested.writelines(f"{request}\n" for request in requests)
        requested.seek(0)
        # -P: this folder's modules must not hide the installed ones. The fixed hash seed makes
        # sympy take the same steps in every run.
        server = subprocess.Popen(
            [sys.executable, "-P", str(_SERVER)],
            stdin=requested,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            encoding="utf-8",
        )
    try:
        if not _read_line(server, START_LIMIT_S):
            raise DropLoRASweepError(
                "protocol strict needs math-verify, which cannot be imported: "
                "pip install math-verify"
            )
        answers = []
        for _ in requests:
            line = _read_line(server, TIME_LIMIT_S)
            if not line:
                break
            answers.append(Answer(**json.loads(line)))
        return answers
    finally:
        server.kill()
        server.communicate()


def _read_line(server: subprocess.Popen[str], time_limit_s: float) -> str:
    """The next line; "" if the server has ended, as it has if the time is over."""
    assert server.stdout is not None, "the server is started with a pipe"
    timer = Timer(time_limit_s, server.kill)
    timer.start()
    try:
        return server.stdout.readline()
    finally:
        timer.cancel()
