"""A worker's own account of why it ends."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

import ray

from .memory import is_out_of_memory
from .messages import Words
from .processes import NUM_LINES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.actor import ActorHandle


@contextlib.contextmanager
def last_words(pool: ActorHandle[Any], group: str, rank: int) -> Iterator[None]:
    """Tell the pool why this process ends; Ray Train then restarts the group.

    So it does for want of memory: the other workers wait for this one in a collective, and fresh
    processes have no holes in their memory.
    """
    try:
        yield
    except Exception as error:
        reason = traceback.format_exception_only(error)[-1].strip()
        lines = "".join(traceback.format_exception(error)).splitlines()[-NUM_LINES:]
        log = "\n".join((f"rank {rank}:", *lines))
        words = Words(reason, out_of_memory=is_out_of_memory(error), log=log)
        ray.get(pool.crash.remote(group, words))
        raise
