"""Three benchmarks generated from a seed, so that a sweep can be tried without a download."""

from .generation import BUILTIN_BENCHMARKS, SPLITS, BuiltinBenchmark, generate

__all__ = ["BUILTIN_BENCHMARKS", "SPLITS", "BuiltinBenchmark", "generate"]
