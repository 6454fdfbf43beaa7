"""Compares numbers and LaTeX answers by value (math-verify), in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Final, Literal

from droplora_sweep.errors import DropLoRASweepError

from .strict import where_to_read

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME_LIMIT_S: Final = 30.0
"""Wall-clock time of one comparison; math-verify's own limits, 5 s a step, come first if they
can: a power tower is computed in one step that no signal interrupts."""
START_LIMIT_S: Final = 120.0
"""Wall-clock time until the process has imported sympy; half a second on a quiet machine."""

_SERVER: Final = Path(__file__).with_name("_math_server.py")


@dataclass(frozen=True)
class MathVerdict:
    """How math-verify read a response; ``prediction`` is None if it found no answer."""

    prediction: str | None
    correct: bool


def verify_answers(
    kind: Literal["number", "math"],
    responses: Sequence[str],
    golds: Sequence[str],
    time_limit_s: float = TIME_LIMIT_S,
) -> list[MathVerdict]:
    r"""One verdict per response.

    Equal are ``1,234`` and ``1234.0``, ``0.5`` and ``\frac{1}{2}``, ``2\sqrt{3}`` and
    ``\sqrt{12}``, ``5 \text{ cm}`` and ``5``.

    Args:
        kind: How an answer is written that nothing marks as LaTeX (see ``strict.where_to_read``).
        responses: Of a model.
        golds: A number or a LaTeX expression each.
        time_limit_s: A comparison that takes longer finds no answer.

    Raises:
        DropLoRASweepError: math-verify cannot be imported.
    """
    requests = [
        json.dumps({"texts": where_to_read(kind, response), "gold": gold})
        for response, gold in zip(responses, golds, strict=True)
    ]
    verdicts: list[MathVerdict] = []
    while len(verdicts) < len(requests):
        verdicts += _serve(requests[len(verdicts) :], time_limit_s)
        if len(verdicts) < len(requests):
            verdicts.append(MathVerdict(None, correct=False))
    return verdicts


def _serve(requests: list[str], time_limit_s: float) -> list[MathVerdict]:
    """The verdicts in order, up to the first that took too long or the server down."""
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
        verdicts = []
        for _ in requests:
            line = _read_line(server, time_limit_s)
            if not line:
                break
            verdicts.append(MathVerdict(**json.loads(line)))
        return verdicts
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
