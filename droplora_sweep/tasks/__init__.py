"""Data, prompts and splits: what a task is."""

from .loading import load_task
from .prompts import render_prompt
from .published import PublishedTask, published_task
from .records import Example
from .registry import BENCHMARKS, BUILTIN_DATA_SEED, MIXTURES, BenchmarkEntry
from .task import Benchmark, Overlap, ScoredSplit, Task, TrainingSet, split_digest, split_sizes

__all__ = [
    "BENCHMARKS",
    "BUILTIN_DATA_SEED",
    "MIXTURES",
    "Benchmark",
    "BenchmarkEntry",
    "Example",
    "Overlap",
    "PublishedTask",
    "ScoredSplit",
    "Task",
    "TrainingSet",
    "load_task",
    "published_task",
    "render_prompt",
    "split_digest",
    "split_sizes",
]
