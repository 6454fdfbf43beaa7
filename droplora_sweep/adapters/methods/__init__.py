"""The methods a trial can use, one module each."""

from .registry import METHODS, Attach

__all__ = ["METHODS", "Attach"]
