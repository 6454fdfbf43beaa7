"""Reach of a judge's endpoint: one short request, before anything depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .endpoint import Failure, attempt, completions_url, read_key

if TYPE_CHECKING:
    from droplora_sweep.spec.evaluation import JudgeSpec

MAX_WAIT_S: Final = 30.0
"""An endpoint that is up answers so short a request within this, or ``timeout_s`` if less."""

BUSY: Final = "HTTP 429"


def problem_of_endpoint(judge: JudgeSpec) -> str | None:
    """Return why a judge cannot be asked from here, in a line; None where it answers.

    Its answer costs a few tokens, and is not looked at. One that is busy is there.

    Raises:
        InputError: Its key cannot be read.
    """
    messages = [{"role": "user", "content": "Reply with the word ready."}]
    body = {"model": judge.model, "messages": messages, "temperature": 0, "max_tokens": 16}
    timeout_s = min(MAX_WAIT_S, judge.timeout_s)
    answer = attempt(completions_url(judge.url), body, read_key(judge), timeout_s)
    if not isinstance(answer, Failure) or answer.problem.startswith(BUSY):
        return None
    return answer.problem
