"""Budget of a judge's requests and tokens, and its replies on disk, which cost none."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from droplora_sweep.files import replace_file

from .endpoint import JudgeError, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass
class Charge:
    """Tokens that one request may cost, and those that it did; the sender sets ``spent``."""

    reserved: int
    spent: int = 0


class Budget:
    """Requests and tokens of one run, shared by threads.

    A request's estimated cost is set aside before it is sent, so that requests under way together
    do not go over; it is above the limit by no more than the estimates were wrong. Once something
    does not fit, the budget is closed: what is sent does not depend on which requests are small.

    Args:
        max_requests: Most requests that may be sent.
        max_tokens: Most tokens that they may cost together.
    """

    def __init__(self, max_requests: int, max_tokens: int) -> None:
        self.max_requests = max_requests
        self.max_tokens = max_tokens
        self.num_requests = 0
        self.num_tokens = 0
        self._reserved = 0
        self._closed: str | None = None
        self._changed = threading.Condition()

    def close(self, reason: str) -> None:
        """Let nothing more be sent, for this reason; the first reason stays."""
        with self._changed:
            self._closed = self._closed or reason
            self._changed.notify_all()

    @contextmanager
    def request(self, num_tokens: int) -> Iterator[Charge | str]:
        """Give the request's charge, or the reason why it must not be sent.

        Waits while other requests, once paid for, may leave enough.
        """
        reason = self._reserve(num_tokens)
        if reason is not None:
            yield reason
            return
        charge = Charge(num_tokens)
        try:
            yield charge
        finally:
            with self._changed:
                self._reserved -= num_tokens
                self.num_tokens += charge.spent
                self._changed.notify_all()

    def _reserve(self, num_tokens: int) -> str | None:
        with self._changed:
            while self._closed is None:
                if self.num_requests >= self.max_requests:
                    self._closed = f"the request budget is spent: max_requests {self.max_requests}"
                elif self.num_tokens + self._reserved + num_tokens <= self.max_tokens:
                    self.num_requests += 1
                    self._reserved += num_tokens
                    return None
                elif self._reserved == 0:
                    self._closed = (
                        f"the token budget is spent: max_tokens {self.max_tokens}, "
                        f"{self.num_tokens} used and up to {num_tokens} needed"
                    )
                else:
                    self._changed.wait()
            self._changed.notify_all()
            return self._closed


def request_digest(url: str, body: Mapping[str, Any]) -> str:
    """Return the sha256 over the URL's path and the body: model, messages, temperature, length.

    The host is left out, so that a server keeps its replies when it moves.
    """
    canonical = json.dumps([urlsplit(url).path, body], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class _Entry(Reply):
    """A reply as it is on the disk, with the digest of its request."""

    digest: str


_ENTRY: Final = TypeAdapter(_Entry)


class ReplyCache:
    """Replies by request digest; several processes may share the folder.

    A file that is damaged counts as absent, and is written anew.

    Raises:
        JudgeError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def get(self, digest: str) -> Reply | None:
        try:
            content = self._path(digest).read_bytes()
            entry = _ENTRY.validate_json(content, strict=True)
        except (OSError, ValueError):
            return None
        return entry if entry.digest == digest else None

    def put(self, digest: str, reply: Reply) -> None:
        entry = {"digest": digest, **asdict(reply)}
        path = self._path(digest)
        try:
            replace_file(path, f"{json.dumps(entry, indent=1)}\n".encode())
        except OSError as error:
            raise _unwritable(path, error) from error

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


def _unwritable(path: Path, error: OSError) -> JudgeError:
    return JudgeError(f"the judge's cache must be writable, got {path}: {error.strerror}")
