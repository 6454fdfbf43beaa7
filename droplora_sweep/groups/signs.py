"""A worker's signs of progress; `silence` is what the pool makes of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.actor import ActorHandle

MAX_INTERVAL_S = 5.0
"""A sign says nothing new before; a tenth of the shortest silence that counts, if that is less."""


class Signs:
    """Shows the pool that this worker makes progress, often enough and not more.

    Args:
        pool: Whom they are shown.
        group: Whose they are.
        floor_s: Shortest silence that counts (``group.silence_floor_s``).
    """

    def __init__(self, pool: ActorHandle[Any], group: str, floor_s: float) -> None:
        self._pool = pool
        self._group = group
        self._interval_s = min(MAX_INTERVAL_S, floor_s / 10)
        self._in_steps = False
        self._next_at = 0.0

    def show(self, in_steps: bool) -> None:
        """Something was done, and what comes next is, or is not, within a training step."""
        if in_steps is self._in_steps and time.monotonic() < self._next_at:
            return
        self._in_steps = in_steps
        self._next_at = time.monotonic() + self._interval_s
        # Nobody waits for the answer: training is not to depend on the pool's pace.
        self._pool.sign.remote(self._group, in_steps)
