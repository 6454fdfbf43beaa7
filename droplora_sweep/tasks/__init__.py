"""Data, prompts and splits: what a task is."""

from .loading import load_task
from .prompts import render_prompt
from .records import Example
from .registry import BENCHMARKS, BUILTIN_DATA_SEED, BenchmarkEntry, Scoring
from .task import Benchmark, Task, split_digest, split_sizes

__all__ = [
    "BENCHMARKS",
    "BUILTIN_DATA_SEED",
    "Benchmark",
    "BenchmarkEntry",
    "Example",
    "Scoring",
    "Task",
    "load_task",
    "render_prompt",
    "split_digest",
    "split_sizes",
]
