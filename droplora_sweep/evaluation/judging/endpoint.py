"""One attempt at an OpenAI-compatible chat endpoint, and what came of it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError

from droplora_sweep.errors import DropLoRASweepError

from .api_key import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

MAX_BODY_BYTES: Final = 8 * 2**20
"""A reply of some thousand tokens is far smaller; what is larger is no reply."""

_MAX_SHOWN_CHARACTERS: Final = 200
_TOO_LONG: Final = ("context_length", "context length", "context window")


class JudgeError(DropLoRASweepError):
    """The judge's endpoint refuses every request alike, or its cache cannot be kept."""


@dataclass(frozen=True)
class Reply:
    """What the judge said.

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
    """Why there is no reply.

    Attributes:
        kind: ``transient`` may succeed when sent again; ``request`` fails for this request alone;
            ``endpoint`` fails for every one.
        problem: What happened, in one line.
        wait_s: What the endpoint asks to wait before the next attempt; None if it does not say.
        num_tokens: What the attempt may have cost all the same.
    """

    kind: Literal["transient", "request", "endpoint"]
    problem: str
    wait_s: float | None = None
    num_tokens: int = 0


def completions_url(url: str) -> str:
    """The address requests go to, for the address of an API or its full one."""
    url = url.rstrip("/")
    return url if url.endswith("/chat/completions") else f"{url}/chat/completions"


def estimated_tokens(text: str) -> int:
    """A third of the UTF-8 bytes: above the usual count for English, near it for Chinese."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 3)


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """The estimated tokens of a request's messages."""
    return sum(estimated_tokens(message["content"]) + 8 for message in body["messages"])


def attempt(
    url: str, body: Mapping[str, Any], key: SecretStr | None, timeout_s: float
) -> Reply | Failure:
    """Sends the request once; never raises for what the endpoint or the network does.

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
    """What a response means.

    Args:
        status: HTTP status.
        headers: Case-insensitive.
        data: The response's body.
        body: The request's, for the estimate of its tokens.
        key: What must not be in the result.
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
    """Sets the header; with no key, keeps requests from looking for one in ``.netrc``."""

    def __init__(self, key: SecretStr | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        return request


def _read(response: requests.Response, deadline: float) -> bytes | Failure:
    """The body as it arrives: the socket's own timeout starts anew with every byte."""
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
    """The message of an error's body, in the forms that servers use; the body if it has none."""
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
    """One printable, short line without the key."""
    text = " ".join(redacted(text, key).split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}..."


def _retry_after_s(header: str | None) -> float | None:
    """Seconds, from a number of them or a date (RFC 9110, 10.2.3); None if it is neither."""
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
