"""One trial's training on a group of workers.

`schedule` needs no torch; the other names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .schedule import evaluation_steps, learning_rate, num_steps

if TYPE_CHECKING:
    from .reporting import Report
    from .resident import Resident

__all__ = ["Report", "Resident", "evaluation_steps", "learning_rate", "num_steps"]

_NEEDS_TORCH = {"Report": ".reporting", "Resident": ".resident"}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NEEDS_TORCH[name], __name__), name)
