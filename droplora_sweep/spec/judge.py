"""Which model rates conversations, and what the rating may cost."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from .base import Count, PathText, Positive, SpecModel, broken_rule

_ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


class JudgeSpec(SpecModel):
    """A judge behind an OpenAI-compatible endpoint; it rates at temperature 0.

    The key itself is never part of a spec, only the place it is read from. Errors do not show what
    was given for the URL and the key's place, as it may be the key.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """Address of the API, e.g. ``https://api.openai.com/v1``; ``/chat/completions`` is added."""
    model: Annotated[str, Field(min_length=1)]
    """The judge, as the endpoint names it (the paper's: GPT-4)."""
    key_env: str | None = None
    """Environment variable that holds the API key; it and ``key_file`` null means no key."""
    key_file: PathText | None = None
    """File that holds the API key, readable by its owner alone."""
    prompts: PathText
    """MT-Bench's ``judge_prompts.jsonl``, or a file like it with the same ``single-`` prompts."""
    cache: str = "~/.cache/droplora-sweep/judge"
    """Folder of the judge's replies by content; workers of one machine and later runs share it."""
    references: PathText | None = None
    """MT-Bench's ``reference_answer/gpt-4.jsonl``; math, reasoning and coding need references."""
    max_requests: Count = 400
    """Requests one evaluation of one trial may send, over all its workers, repeated ones included;
    MT-Bench takes 160 if none fails."""
    max_tokens: Count = 1_000_000
    """Tokens one evaluation of one trial may spend, over all its workers, prompts and replies, as
    the endpoint counts them."""
    timeout_s: Positive = 120.0
    """Seconds from sending a request to the end of its reply."""
    max_attempts: Count = 5
    """How often one request is sent before its rating is missing."""
    max_concurrent: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests that are under way at once."""

    def share(self, rank: int, world_size: int) -> JudgeSpec:
        """The judge for one of ``world_size`` workers: its part of the requests and tokens.

        A worker whose part is nothing gets one of each, which is too little to send anything.
        """
        parts = {
            name: max(1, (limit + world_size - 1 - rank) // world_size)
            for name, limit in (
                ("max_requests", self.max_requests),
                ("max_tokens", self.max_tokens),
            )
        }
        return self.model_copy(update=parts)

    def what_rates(self) -> dict[str, str]:
        """What of this changes ratings, besides the contents of its files."""
        return {"model": self.model}

    @field_validator("url")
    @classmethod
    def _is_plain_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            plain = False
        if not plain or re.search(r"[@?#\s]", url):
            raise broken_rule(
                "must be an http or https address without user, password, query and fragment"
            )
        return url

    @field_validator("key_env")
    @classmethod
    def _is_environment_name(cls, name: str | None) -> str | None:
        if name is not None and _ENVIRONMENT_NAME.fullmatch(name) is None:
            raise broken_rule(
                "must be the name of an environment variable (A-Z, 0-9 and _), not the key itself"
            )
        return name

    @model_validator(mode="after")
    def _has_one_key(self) -> JudgeSpec:
        if self.key_env is not None and self.key_file is not None:
            raise broken_rule("must be null where `key_env` is given, got both", "key_file")
        return self
