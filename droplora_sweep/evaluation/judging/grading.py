"""Has a judge rate conversations."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.errors import Fault, InputError

from .budget import Budget, ReplyCache, request_digest
from .conversations import Rating, load_references
from .endpoint import (
    Failure,
    JudgeError,
    Reply,
    attempt,
    completions_url,
    next_wait_s,
    prompt_tokens,
    read_key,
)
from .prompts import REFERENCE_CATEGORIES, Reading, load_prompts, messages_of, read_rating

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import SecretStr

    from droplora_sweep.spec.evaluation import JudgeSpec

    from .conversations import Conversation

MAX_REPLY_TOKENS: Final = 2048
"""The longest reply asked for, as in FastChat."""
MAX_FAILURES_IN_A_ROW: Final = 5
"""An endpoint that fails as many requests one after the other, all their attempts, is down."""

_logger: Final = logging.getLogger(__name__)


def grade(
    conversations: Sequence[Conversation],
    spec: JudgeSpec,
    *,
    cache: Path,
    sleep: Callable[[float], object] = time.sleep,
    budget: Budget | None = None,
) -> list[Rating]:
    """Rates each turn of every conversation.

    A rating is missing, with its reason, where the judge's reply does not end with one, where the
    endpoint gives no reply in ``max_attempts``, or where the budget is spent. Replies are cached,
    those without a rating too: a second run with the same cache sends only what is not there, and
    needs no key if all is.

    Args:
        conversations: What to rate.
        spec: The judge.
        cache: Folder of the judge's replies; made if need be.
        sleep: Waits between attempts.
        budget: To be shared by several calls; None is a new one, of the spec's limits.

    Returns:
        Each conversation's turns, in the order of the conversations.

    Raises:
        InputError: The prompts, references or key cannot be used, or a conversation lacks the
            reference answers that its category needs. Nothing was sent.
        JudgeError: The endpoint refuses requests as such (a wrong key, model or address), or the
            cache cannot be written. What was rated before is in the cache.
    """
    requests = _requests(conversations, spec)
    replies = ReplyCache(cache)
    known = {
        request.digest: reply
        for request in requests
        if (reply := replies.get(request.digest)) is not None
    }
    new = {request.digest: request for request in requests if request.digest not in known}
    fresh: dict[str, Reply | str] = {}
    if new:
        judge = _Judge(
            spec,
            read_key(spec),
            replies,
            budget or Budget(spec.max_requests, spec.max_tokens),
            sleep,
        )
        fresh = judge.ask_all(list(new.values()))
        _warn_of_estimates(fresh)
    paid: set[str] = set()
    ratings = []
    for request in requests:
        digest = request.digest
        cached = digest in known or (digest in paid and isinstance(fresh[digest], Reply))
        paid.add(digest)
        outcome = known[digest] if digest in known else fresh[digest]
        ratings.append(_rating(request, outcome, cached=cached))
    return ratings


def check_ready(conversations: Sequence[Conversation], spec: JudgeSpec) -> None:
    """See that prompts, references and key are there for these conversations; sends nothing.

    Raises:
        InputError: As ``grade``.
    """
    _requests(conversations, spec)
    read_key(spec)


@dataclass(frozen=True)
class _Request:
    question_id: int
    turn: int
    body: Mapping[str, Any]
    digest: str


def _requests(conversations: Sequence[Conversation], spec: JudgeSpec) -> list[_Request]:
    prompts = load_prompts(Path(spec.prompts).expanduser())
    path = None if spec.references is None else Path(spec.references).expanduser()
    references = {} if path is None else load_references(path)
    url = completions_url(spec.url)
    requests: list[_Request] = []
    faults: list[Fault] = []
    for conversation in conversations:
        question_id = conversation.question_id
        reference = conversation.reference or references.get(question_id)
        needs_reference = (
            len(conversation.turns) > 1 and conversation.category in REFERENCE_CATEGORIES
        )
        if reference is None and needs_reference:
            faults.append(
                Fault(
                    str(path or ""),
                    "references",
                    f"must hold question {question_id}, as {conversation.category} is rated "
                    "against reference answers",
                )
            )
            continue
        for turn, messages in enumerate(messages_of(conversation, reference, prompts), 1):
            body = {
                "model": spec.model,
                "messages": messages,
                "temperature": 0,
                "max_tokens": MAX_REPLY_TOKENS,
            }
            requests.append(_Request(question_id, turn, body, request_digest(url, body)))
    if faults:
        raise InputError(faults)
    return requests


class _Judge:
    """Sends requests from several threads, within the budget."""

    def __init__(
        self,
        spec: JudgeSpec,
        key: SecretStr | None,
        replies: ReplyCache,
        budget: Budget,
        sleep: Callable[[float], object],
    ) -> None:
        self._spec = spec
        self._url = completions_url(spec.url)
        self._key = key
        self._replies = replies
        self._budget = budget
        self._sleep = sleep
        self._lock = threading.Lock()
        self._num_failures_in_a_row = 0

    def ask_all(self, requests: Sequence[_Request]) -> dict[str, Reply | str]:
        """Each request's reply, or the reason why there is none, by digest."""
        pool = ThreadPoolExecutor(self._spec.max_concurrent, thread_name_prefix="judge")
        try:
            futures = {request.digest: pool.submit(self._ask, request) for request in requests}
            return {digest: future.result() for digest, future in futures.items()}
        except BaseException:
            # An interrupt too must not have to wait for all that is still to be sent.
            self._budget.close("judging was ended early")
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, request: _Request) -> Reply | str:
        try:
            outcome = self._attempts(request)
            if isinstance(outcome, Reply):
                self._replies.put(request.digest, outcome)
        except JudgeError:
            self._budget.close("judging was ended early")
            raise
        return outcome

    def _attempts(self, request: _Request) -> Reply | str:
        needed = prompt_tokens(request.body) + MAX_REPLY_TOKENS
        problem = ""
        num_attempts = 0
        while True:
            with self._budget.request(needed) as charge:
                if isinstance(charge, str):
                    return f"{charge}; before: {problem}" if problem else charge
                outcome = attempt(self._url, request.body, self._key, self._spec.timeout_s)
                charge.spent = outcome.num_tokens
            num_attempts += 1
            if isinstance(outcome, Reply):
                self._note(failed=False)
                return outcome
            if outcome.kind == "endpoint":
                raise JudgeError(f"judge at {self._url} refuses requests: {outcome.problem}")
            problem = outcome.problem
            jitter = random.random()
            wait_s = next_wait_s(outcome, num_attempts, self._spec.max_attempts, jitter)
            if wait_s is None:
                return self._give_up(outcome, num_attempts)
            _logger.info(
                "question %d turn %d: %s; next attempt in %.1f s",
                request.question_id,
                request.turn,
                problem,
                wait_s,
            )
            self._sleep(wait_s)

    def _give_up(self, failure: Failure, num_attempts: int) -> str:
        if failure.kind == "transient":
            self._note(failed=True)
        asked = "" if failure.wait_s is None else f" (asks to wait {failure.wait_s:.0f} s)"
        plural = "" if num_attempts == 1 else "s"
        return f"no reply in {num_attempts} attempt{plural}: {failure.problem}{asked}"

    def _note(self, *, failed: bool) -> None:
        with self._lock:
            self._num_failures_in_a_row = self._num_failures_in_a_row + 1 if failed else 0
            is_down = self._num_failures_in_a_row >= MAX_FAILURES_IN_A_ROW
        if is_down:
            self._budget.close(
                f"the endpoint is down: {MAX_FAILURES_IN_A_ROW} requests in a row got no reply"
            )


def _rating(request: _Request, outcome: Reply | str, *, cached: bool) -> Rating:
    reply = outcome if isinstance(outcome, Reply) else None
    reading = Reading(None, outcome) if isinstance(outcome, str) else read_rating(outcome.text)
    reason = reading.reason
    if reason is not None and reply is not None and reply.finish_reason not in (None, "stop"):
        reason = f"{reason} (finish_reason {reply.finish_reason})"
    return Rating(
        question_id=request.question_id,
        turn=request.turn,
        rating=reading.rating,
        reason=reason,
        prompt_digest=request.digest,
        num_tokens=reply.num_tokens if reply else 0,
        tokens_estimated=reply.tokens_estimated if reply else False,
        cached=cached,
    )


def _warn_of_estimates(outcomes: Mapping[str, Reply | str]) -> None:
    num_estimated = sum(
        isinstance(outcome, Reply) and outcome.tokens_estimated for outcome in outcomes.values()
    )
    if num_estimated:
        _logger.warning(
            "the endpoint did not count the tokens of %d replies; they were estimated",
            num_estimated,
        )
