"""Data, prompts and splits of a task; exported is what a plug-in that brings a benchmark needs."""

from .registry import BenchmarkEntry
from .task import Example

__all__ = ["BenchmarkEntry", "Example"]
