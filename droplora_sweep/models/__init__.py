"""Base models: finding, inspecting and loading them.

Finding and inspecting need no torch; the loaders are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .dimensions import Dimensions, PublishedModel, published_models
from .inspecting import ModelSummary, inspect_model, inspect_published
from .quantization import require_quantization
from .resolving import OutOfReachError, ResolvedModel, is_on_this_machine, resolve_model

if TYPE_CHECKING:
    from .loading import load_base_model, load_tokenizer

__all__ = [
    "Dimensions",
    "ModelSummary",
    "OutOfReachError",
    "PublishedModel",
    "ResolvedModel",
    "inspect_model",
    "inspect_published",
    "is_on_this_machine",
    "load_base_model",
    "load_tokenizer",
    "published_models",
    "require_quantization",
    "resolve_model",
]

_NEEDS_TORCH = ("load_base_model", "load_tokenizer")


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".loading", __name__), name)
