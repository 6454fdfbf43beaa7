"""Conversations, and the ratings that a judge gives them: missing rather than an error."""

from __future__ import annotations

import hashlib
import json
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
from .prompts import (
    REFERENCE_CATEGORIES,
    Conversation,
    Reading,
    load_prompts,
    messages_of,
    read_objects,
    read_rating,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import SecretStr

    from droplora_sweep.spec.evaluation import JudgeSpec
    from droplora_sweep.tasks.task import Example

MAX_REPLY_TOKENS: Final = 2048
"""The longest reply asked for, as in FastChat."""
MAX_FAILURES_IN_A_ROW: Final = 5
"""An endpoint that fails as many requests one after the other, all their attempts, is down."""

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rating:
    """The judge's rating of one turn of a conversation.

    Attributes:
        question_id: ``Conversation.question_id``.
        turn: 1 or 2.
        rating: In [1, 10]; None if it is missing.
        reason: Reason why it is missing, in one line; None if it is not.
        prompt_digest: Names the request, and its reply's file in the cache.
        num_tokens: Tokens of prompt and reply when they were paid for; 0 without a reply.
        tokens_estimated: True where the endpoint did not count them.
        cached: True where the reply was there already, so that nothing was sent.
    """

    question_id: int
    turn: int
    rating: float | None
    reason: str | None
    prompt_digest: str
    num_tokens: int
    tokens_estimated: bool
    cached: bool


def grade(
    conversations: Sequence[Conversation],
    spec: JudgeSpec,
    *,
    cache: Path,
    sleep: Callable[[float], object] = time.sleep,
    budget: Budget | None = None,
) -> list[Rating]:
    """Rate each turn of every conversation.

    A rating is missing, with its reason, where the judge's reply does not end with one, where the
    endpoint gives no reply in ``max_attempts``, or where the budget is spent. Replies are cached,
    those without a rating too: a second run with the same cache sends only what is not there, and
    needs no key if all is.

    Args:
        conversations: Answers to rate.
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
    outcomes: dict[str, Reply | str] = {}
    new: dict[str, _Request] = {}
    for request in requests:
        reply = replies.get(request.digest)
        if reply is not None:
            outcomes[request.digest] = reply
        else:
            new.setdefault(request.digest, request)
    if new:
        budget = budget or Budget(spec.max_requests, spec.max_tokens)
        sent = _Judge(spec, read_key(spec), replies, budget, sleep).ask_all(list(new.values()))
        _warn_of_estimates(sent)
        outcomes |= sent
    ratings = []
    for request in requests:
        outcome = outcomes[request.digest]
        cached = isinstance(outcome, Reply) and new.get(request.digest) is not request
        ratings.append(_rating(request, outcome, cached=cached))
    return ratings


def check_ready(conversations: Sequence[Conversation], spec: JudgeSpec) -> None:
    """Check that prompts, references and key are there for these conversations; send nothing.

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
    """Sender of requests from several threads, within the budget."""

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
        """Return each request's reply, or the reason why there is none, by digest."""
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


def load_references(path: Path) -> dict[int, tuple[str, str]]:
    """Return both turns' reference answers by question id.

    Raises:
        InputError: The file cannot be read or is not JSON lines, or a record lacks a question id
            or answers to two turns.
    """
    references: dict[int, tuple[str, str]] = {}
    faults: list[Fault] = []
    for where, record in read_objects(path):
        question_id, turns = record.get("question_id"), _turns(record)
        if not isinstance(question_id, int) or isinstance(question_id, bool):
            faults.append(Fault(where, "question_id", f"must be an integer, got {question_id!r}"))
        elif turns is None:
            faults.append(Fault(where, "choices", "must hold one choice with `turns` of two texts"))
        else:
            references[question_id] = turns
    if faults:
        raise InputError(faults[:5])
    return references


def _turns(record: dict[str, Any]) -> tuple[str, str] | None:
    match record:
        case {"choices": [{"turns": [str(first), str(second)]}, *_]}:
            return first, second
        case _:
            return None


def conversation_of(
    index: int, example: Example, answers: tuple[str, ...], spec: JudgeSpec
) -> Conversation:
    """Return the conversation that the judge is to rate.

    Reference answers are those of the spec's file, as FastChat takes them, and the example's own
    where the spec names no file.

    Args:
        index: Numbers a question whose publisher did not.
        example: Has two turns, or its instruction is the only one.
        answers: The model's, to each turn.
        spec: The judge.
    """
    number = example.id
    return Conversation(
        question_id=int(number) if number is not None and number.isdigit() else index,
        category=example.category or "",
        turns=example.turns or (example.instruction,),
        answers=answers,
        reference=_own_reference(example) if spec.references is None else None,
    )


def rate(conversations: Sequence[Conversation], spec: JudgeSpec) -> list[Rating]:
    """Return each turn's rating, in order; if there is none, with the reason.

    A trial's training is not lost to an endpoint that is away, a wrong key or a missing file:
    these make ratings missing, and one warning is logged. Replies in the cache are used even so.
    """
    cache = Path(spec.cache).expanduser()
    try:
        ratings = grade(conversations, spec, cache=cache)
    except (InputError, JudgeError) as error:
        ratings = _cached(conversations, spec, cache, str(error).splitlines()[0])
    missing = [rating for rating in ratings if rating.rating is None]
    if missing:
        _logger.warning(
            "%d of %d ratings are missing, the first: %s",
            len(missing),
            len(ratings),
            missing[0].reason,
        )
    return ratings


def check_judge(examples: Sequence[Example], spec: JudgeSpec) -> list[Fault]:
    """Return faults that would keep ratings from being had; nothing is sent."""
    faults = [
        Fault("", "task.benchmarks", f"must have at most two turns, got {len(example.turns)}")
        for example in examples
        if len(example.turns) > 2
    ]
    if faults:
        return faults[:1]
    asked = [
        conversation_of(index, example, ("",) * max(1, len(example.turns)), spec)
        for index, example in enumerate(examples)
    ]
    try:
        check_ready(asked, spec)
    except InputError as error:
        return [Fault("", "evaluation.judge", str(fault)) for fault in error.faults][:3]
    return []


def judge_digests(spec: JudgeSpec) -> dict[str, str]:
    """Return the sha256, in hex, over each file of the judge that changes ratings, by name."""
    files = {"judge/prompts": spec.prompts, "judge/references": spec.references}
    return {
        name: hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest()
        for name, file in files.items()
        if file is not None
    }


def with_absolute_files(spec: JudgeSpec) -> JudgeSpec:
    """Return the judge with absolute paths, which mean the same in a worker's working folder."""
    names = ("prompts", "references", "key_file", "cache")
    given = {name: path for name in names if (path := getattr(spec, name)) is not None}
    files = {name: str(Path(path).expanduser().resolve()) for name, path in given.items()}
    return spec.model_copy(update=files)


def _cached(
    conversations: Sequence[Conversation],
    spec: JudgeSpec,
    cache: Path,
    reason: str,
) -> list[Rating]:
    """Return the ratings in the cache; the others are missing for this reason."""
    budget = Budget(spec.max_requests, spec.max_tokens)
    budget.close(reason)
    # With a closed budget nothing is sent, so that no key is needed.
    keyless = spec.model_copy(update={"key_env": None, "key_file": None})
    try:
        return grade(conversations, keyless, cache=cache, budget=budget)
    except (InputError, JudgeError):
        return [
            Rating(one.question_id, turn, None, reason, "", 0, False, False)
            for one in conversations
            for turn in range(1, len(one.turns) + 1)
        ]


def _own_reference(example: Example) -> tuple[str, str] | None:
    match json.loads(example.answer) if example.answer else None:
        case [str(first), str(second), *_]:
            return first, second
        case _:
            return None
