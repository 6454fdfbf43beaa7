"""The judge's replies on disk, one file per request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .endpoint import JudgeError, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def request_digest(url: str, body: Mapping[str, Any]) -> str:
    """The sha256 over the URL's path and the body: model, messages, temperature, reply length.

    The host is left out, so that a server keeps its replies when it moves.
    """
    canonical = json.dumps([urlsplit(url).path, body], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


class ReplyCache:
    """Replies by request digest; several processes may share the folder.

    A file is written under a temporary name and then renamed, so that none is ever half there. A
    file that is damaged all the same counts as absent, and is written anew.

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
            entry = json.loads((self._folder / f"{digest}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        match entry:
            case {
                "digest": found,
                "text": str(text),
                "finish_reason": str() | None as finish_reason,
                "num_tokens": int(num_tokens),
                "tokens_estimated": bool(tokens_estimated),
            } if found == digest:
                return Reply(text, finish_reason, num_tokens, tokens_estimated)
            case _:
                return None

    def put(self, digest: str, reply: Reply) -> None:
        entry = {
            "digest": digest,
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "num_tokens": reply.num_tokens,
            "tokens_estimated": reply.tokens_estimated,
        }
        path = self._folder / f"{digest}.json"
        temporary = self._folder / f".{digest}.{uuid.uuid4().hex}.tmp"
        try:
            temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> JudgeError:
    return JudgeError(f"the judge's cache must be writable, got {path}: {error.strerror}")
