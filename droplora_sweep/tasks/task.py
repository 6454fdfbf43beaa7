"""A loaded task: what a trial trains on and is scored by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .records import Example
    from .registry import Scoring


@dataclass(frozen=True)
class Benchmark:
    """One scored data set; no example is in two of its splits.

    Attributes:
        name: As in ``task.benchmarks``.
        scoring: How a response is compared with ``Example.answer`` (see ``BenchmarkEntry``).
        options: For ``choice``, the options' names in the order they are looked for.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        max_new_tokens: A response needs no more than this; None where the benchmark sets no limit.
        train: What a trial trains on; may be empty if other benchmarks have training data.
        validation: What a trial is scored on while searching.
        num_test: How many examples ``test`` gives; 0 if there is no test split.
        num_left_out: Training and validation examples that a split they must not share also has.
        read_test: Reads the test split.
    """

    name: str
    scoring: Scoring
    options: tuple[str, ...]
    prompt_suffix: str
    max_new_tokens: int | None
    train: tuple[Example, ...] = field(repr=False)
    validation: tuple[Example, ...] = field(repr=False)
    num_test: int
    num_left_out: int
    read_test: Callable[[], tuple[Example, ...]] = field(repr=False, compare=False)

    def test(self) -> tuple[Example, ...]:
        """The test split, read at each call, so that a search cannot meet it by accident."""
        return self.read_test()


@dataclass(frozen=True)
class Task:
    """Benchmarks that are trained on together and scored one by one.

    Attributes:
        name: As in ``task.name``.
        benchmarks: In the order of ``task.benchmarks``.
        digests: ``<benchmark>/<split>`` to ``split_digest`` of the training and validation splits:
            all the data that decides a trial's result.
    """

    name: str
    benchmarks: tuple[Benchmark, ...]
    digests: dict[str, str]

    def training_examples(self) -> tuple[tuple[Benchmark, Example], ...]:
        """Every training example with the benchmark that says how it is prompted."""
        return tuple(
            (benchmark, example) for benchmark in self.benchmarks for example in benchmark.train
        )


def split_digest(examples: Iterable[Example]) -> str:
    """The sha256, in hex, over the examples' digests in their order."""
    return hashlib.sha256("\n".join(example.digest for example in examples).encode()).hexdigest()


def split_sizes(task: Task) -> dict[str, dict[str, int]]:
    """Examples of each benchmark per split, and ``left_out``, for ``plan``."""
    return {
        benchmark.name: {
            "train": len(benchmark.train),
            "validation": len(benchmark.validation),
            "test": benchmark.num_test,
            "left_out": benchmark.num_left_out,
        }
        for benchmark in task.benchmarks
    }
