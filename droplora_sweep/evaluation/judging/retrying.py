"""When a request is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .endpoint import Failure

FIRST_WAIT_S: Final = 1.0
MAX_WAIT_S: Final = 60.0
"""The longest wait: an endpoint that asks for more is not asked again."""


def next_wait_s(
    failure: Failure, num_attempts: int, max_attempts: int, jitter: float
) -> float | None:
    """Seconds to wait before the next attempt; None to give up.

    The wait doubles from attempt to attempt, and half of it is left to chance, so that requests
    which failed together do not come back together. ``Retry-After`` is the least it can be.

    Args:
        failure: How the last attempt failed.
        num_attempts: How many were made.
        max_attempts: How many may be made.
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
