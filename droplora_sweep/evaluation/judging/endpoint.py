"""Requests to an OpenAI-compatible chat endpoint: key, attempt, retry."""

from __future__ import annotations

import json
import math
import os
import stat
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import requests
from pydantic import SecretStr
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from droplora_sweep.errors import DropLoRASweepError, Fault, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec.evaluation import JudgeSpec


MIN_SECRET_CHARACTERS: Final = 8
"""Shorter keys, such as the ``EMPTY`` that local servers take, are no secrets and not redacted."""

_MAX_FILE_BYTES: Final = 16_384


def read_key(spec: JudgeSpec) -> SecretStr | None:
    """Return the key from ``key_env`` or ``key_file``; None if the spec has neither.

    Raises:
        InputError: The variable is not set; the file cannot be read or others than its owner can
            read or change it; the key is empty or could not stand in an HTTP header.
    """
    if spec.key_env is not None:
        return _checked(os.environ.get(spec.key_env, ""), f"environment variable {spec.key_env}")
    if spec.key_file is not None:
        path = Path(spec.key_file).expanduser()
        return _checked(_read_private(path), str(path))
    return None


def redacted(text: str, key: SecretStr | None) -> str:
    """Return the text without the key, which an endpoint's error may repeat."""
    secret = key.get_secret_value() if key is not None else ""
    return text.replace(secret, "[key]") if len(secret) >= MIN_SECRET_CHARACTERS else text


def _read_private(path: Path) -> str:
    try:
        # The open file is checked, not its path, which could come to mean another file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _fault(str(path), "must be a file")
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o077:
                raise _fault(
                    str(path), f"must be for its owner alone (chmod 600), got mode {mode:04o}"
                )
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise _fault(str(path), f"cannot be read: {error.strerror}") from error


def _checked(text: str, where: str) -> SecretStr:
    secret = text.strip()
    if not secret:
        raise _fault(where, "must hold the judge's API key, got nothing")
    # An HTTP library would show the key in its complaint.
    if not all("!" <= character <= "~" for character in secret):
        raise _fault(where, "must hold one API key of visible ASCII characters")
    return SecretStr(secret)


def _fault(where: str, problem: str) -> InputError:
    return InputError([Fault(where, "", problem)])


MAX_BODY_BYTES: Final = 8 * 2**20
"""A reply of some thousand tokens is far smaller; what is larger is no reply."""

_MAX_SHOWN_CHARACTERS: Final = 200
_TOO_LONG: Final = ("context_length", "context length", "context window")


class JudgeError(DropLoRASweepError):
    """The judge's endpoint refuses every request alike, or its cache cannot be kept."""


@dataclass(frozen=True)
class Reply:
    """The judge's reply.

    Attributes:
        text: The reply; empty if the endpoint gave none.
        finish_reason: The endpoint's; ``length`` if the reply was cut.
        num_tokens: Prompt and reply together.
        tokens_estimated: The endpoint did not count them.
    """

    text: str
    finish_reason: str | None
    num_tokens: int
    tokens_estimated: bool


@dataclass(frozen=True)
class Failure:
    """Reason why there is no reply.

    Attributes:
        kind: ``transient`` may succeed when sent again; ``request`` fails for this request alone;
            ``endpoint`` fails for every one.
        problem: The failure, in one line.
        wait_s: Seconds that the endpoint asks to wait before the next attempt; None if none.
        num_tokens: Tokens that the attempt may have cost all the same.
    """

    kind: Literal["transient", "request", "endpoint"]
    problem: str
    wait_s: float | None = None
    num_tokens: int = 0


def completions_url(url: str) -> str:
    """Return the address of requests, for the address of an API or its full one."""
    url = url.rstrip("/")
    return url if url.endswith("/chat/completions") else f"{url}/chat/completions"


def estimated_tokens(text: str) -> int:
    """Return a third of the UTF-8 bytes: above the usual count for English, near it for Chinese."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 3)


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Return the estimated tokens of a request's messages."""
    return sum(estimated_tokens(message["content"]) + 8 for message in body["messages"])


def attempt(
    url: str, body: Mapping[str, Any], key: SecretStr | None, timeout_s: float
) -> Reply | Failure:
    """Send the request once; nothing that the endpoint or the network does is raised.

    Redirects are not followed, as the key would follow them. Proxies are those of the environment;
    its ``.netrc`` is not used.

    Args:
        url: From ``completions_url``.
        body: The request's JSON.
        key: Sent as bearer token; no text that is returned holds it.
        timeout_s: From sending to the end of the reply, however steadily it trickles in; a reply
            that stops halfway is waited for up to twice as long.
    """
    deadline = time.monotonic() + timeout_s
    may_have_cost = prompt_tokens(body) + int(body["max_tokens"])
    try:
        with requests.Session() as session:
            response = session.post(
                url,
                json=body,
                auth=_Bearer(key),
                headers={"Accept-Encoding": "identity"},
                timeout=timeout_s,
                allow_redirects=False,
                stream=True,
            )
            with response:
                data = _read(response, deadline)
    except requests.ConnectTimeout:
        return Failure("transient", f"no connection in {timeout_s:g} s")
    except (requests.Timeout, UrllibTimeoutError, TimeoutError):
        # A judge that was too slow was at work, and its work may be paid for.
        return Failure("transient", f"no reply in {timeout_s:g} s", num_tokens=may_have_cost)
    except (requests.RequestException, HTTPError, OSError) as error:
        return Failure("transient", _line(f"no connection: {type(error).__name__}: {error}", key))
    if isinstance(data, Failure):
        return data
    return read_response(response.status_code, response.headers, data, body, key)


def read_response(
    status: int,
    headers: Mapping[str, str],
    data: bytes,
    body: Mapping[str, Any],
    key: SecretStr | None = None,
) -> Reply | Failure:
    """Return the reply or the failure that a response is.

    Args:
        status: HTTP status.
        headers: Case-insensitive.
        data: The response's body.
        body: The request's, for the estimate of its tokens.
        key: Text that must not be in the result.
    """
    if status == 200:
        return _read_reply(data, body, key)
    said = _said(data)
    problem = _line(f"HTTP {status}{': ' if said else ''}{said}", key)
    if status in (408, 409, 425, 429) or status >= 500:
        return Failure("transient", problem, wait_s=_retry_after_s(headers.get("Retry-After")))
    if status == 413 or (status == 400 and any(words in said.lower() for words in _TOO_LONG)):
        return Failure("request", problem)
    if 300 <= status < 400:
        return Failure("endpoint", _line(f"{problem} (redirects are not followed)", key))
    return Failure("endpoint", problem)


class _Bearer(AuthBase):
    """Header with the key; without one, requests are kept from looking for one in ``.netrc``."""

    def __init__(self, key: SecretStr | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request


def _read(response: requests.Response, deadline: float) -> bytes | Failure:
    """Read the body as it arrives: the socket's own timeout starts anew with every byte."""
    data = bytearray()
    while chunk := response.raw.read1(65_536, decode_content=True):
        data += chunk
        if time.monotonic() > deadline:
            raise TimeoutError
        if len(data) > MAX_BODY_BYTES:
            return Failure("transient", f"the reply is longer than {MAX_BODY_BYTES} bytes")
    return bytes(data)


def _read_reply(data: bytes, body: Mapping[str, Any], key: SecretStr | None) -> Reply | Failure:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return Failure("transient", "the reply must be JSON", num_tokens=prompt_tokens(body))
    match answer:
        case {"choices": [{"message": {"content": str() | None as content}} as choice, *_]}:
            text = redacted(content or "", key)
        case _:
            return Failure(
                "transient",
                "the reply must hold choices[0].message.content",
                num_tokens=prompt_tokens(body),
            )
    finish_reason = choice.get("finish_reason")
    if not isinstance(finish_reason, str):
        finish_reason = None
    counted = _counted_tokens(answer.get("usage"))
    estimated = prompt_tokens(body) + estimated_tokens(text)
    return Reply(
        text,
        finish_reason and _line(finish_reason, key),
        estimated if counted is None else counted,
        tokens_estimated=counted is None,
    )


def _counted_tokens(usage: Any) -> int | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("total_tokens", "prompt_tokens", "completion_tokens")]
    total, prompt, completion = (
        count if type(count) is int and 0 <= count < 2**53 else None for count in counts
    )
    if total is not None:
        return total
    return prompt + completion if prompt is not None and completion is not None else None


def _said(data: bytes) -> str:
    """Return the message of an error's body, in the forms that servers use, else the body."""
    text = data.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return text
    match body:
        case {"error": {"message": str(message), "code": str(code)}}:
            return f"{message} ({code})"
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            return message
        case {"message": str(message)} | {"detail": str(message)}:
            return message
        case _:
            return text


def _line(text: str, key: SecretStr | None) -> str:
    """Return one printable, short line without the key."""
    text = " ".join(redacted(text, key).split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}..."


def _retry_after_s(header: str | None) -> float | None:
    """Return seconds, from a number of them or a date (RFC 9110, 10.2.3); None for neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


FIRST_WAIT_S: Final = 1.0
MAX_WAIT_S: Final = 60.0
"""The longest wait: an endpoint that asks for more is not asked again."""


def next_wait_s(
    failure: Failure, num_attempts: int, max_attempts: int, jitter: float
) -> float | None:
    """Return the seconds to wait before the next attempt; None to give up.

    The wait doubles from attempt to attempt, and half of it is left to chance, so that requests
    which failed together do not come back together. ``Retry-After`` is the least it can be.

    Args:
        failure: The last attempt's failure.
        num_attempts: Attempts so far.
        max_attempts: Most attempts.
        jitter: Drawn from [0, 1).
    """
    if failure.kind != "transient" or num_attempts >= max_attempts:
        return None
    # Ten doublings are past the longest wait, whatever ``max_attempts`` is.
    backoff_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** min(num_attempts - 1, 10))
    wait_s = backoff_s * (1 + jitter) / 2
    if failure.wait_s is None:
        return wait_s
    return failure.wait_s + wait_s if failure.wait_s <= MAX_WAIT_S else None
