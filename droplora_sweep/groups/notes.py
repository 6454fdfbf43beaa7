"""Warnings of a worker that the user is to see at once, and not only in the library logs."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.actor import ActorHandle

LOGS = ("droplora_sweep.training.decoding", "droplora_sweep.evaluation.serving")
"""Logs of decoding that is not done by what was asked for."""


class _Notes(logging.Handler):
    def __init__(self, pool: ActorHandle[Any], group: str) -> None:
        super().__init__(logging.WARNING)
        self._pool = pool
        self._group = group

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._pool.note.remote(f"group {self._group}: {record.getMessage()}")


@contextlib.contextmanager
def warnings_shown(pool: ActorHandle[Any], group: str) -> Iterator[None]:
    """Show the user what is logged as a warning within."""
    handler = _Notes(pool, group)
    for name in LOGS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in LOGS:
            logging.getLogger(name).removeHandler(handler)
