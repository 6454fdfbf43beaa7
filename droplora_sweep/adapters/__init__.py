"""DropLoRA and the methods it is compared with, as PEFT extensions.

`sizes` needs no torch; the other names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .sizes import matched_modules, num_trainable_parameters, unmatched_targets

if TYPE_CHECKING:
    from .adapted import Adapted
    from .attaching import attach
    from .droplora import DropLoraConfig, fold_gates, set_step
    from .methods.lora_drop import LoraDrop

__all__ = [
    "Adapted",
    "DropLoraConfig",
    "LoraDrop",
    "attach",
    "fold_gates",
    "matched_modules",
    "num_trainable_parameters",
    "set_step",
    "unmatched_targets",
]

_NEEDS_TORCH = {
    "Adapted": ".adapted",
    "DropLoraConfig": ".droplora",
    "LoraDrop": ".methods.lora_drop",
    "attach": ".attaching",
    "fold_gates": ".droplora",
    "set_step": ".droplora",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NEEDS_TORCH[name], __name__), name)
