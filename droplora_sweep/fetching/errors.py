"""The fault of data behind a URL."""

from __future__ import annotations

from droplora_sweep.redaction import redact


class FetchError(ValueError):
    """Data behind a URL cannot be had; its text names the URL, and no secret of it."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{shown_url(url)}: {redact(problem)}")


def shown_url(url: str) -> str:
    """Return a URL for a message: without its query, which may be signed.

    >>> shown_url("https://host/rows.csv?sig=tulip")
    'https://host/rows.csv'
    """
    return redact(url.partition("?")[0].partition("#")[0])
