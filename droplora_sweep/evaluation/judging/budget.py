"""How many requests and tokens may still be spent."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Charge:
    """What one request may cost, and what it did; the sender sets ``spent``."""

    reserved: int
    spent: int = 0


class Budget:
    """Requests and tokens of one run, shared by threads.

    A request's estimated cost is set aside before it is sent, so that requests under way together
    do not go over; it is above the limit by no more than the estimates were wrong. Once something
    does not fit, the budget is closed: what is sent does not depend on which requests are small.

    Args:
        max_requests: How many may be sent.
        max_tokens: What they may cost together.
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
        """Nothing more may be sent, for this reason; the first reason stays."""
        with self._changed:
            self._closed = self._closed or reason
            self._changed.notify_all()

    @contextmanager
    def request(self, num_tokens: int) -> Iterator[Charge | str]:
        """Gives what the request may cost, or the reason why it must not be sent.

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
