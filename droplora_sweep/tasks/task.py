"""A loaded task: what a trial trains on and is scored by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from .prompts import render_prompt, render_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from droplora_sweep.spec import Scoring

    from .records import Example

ScoredSplit = Literal["validation", "confirmation", "test"]


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
        confirmation: What finalists are compared on after the search, which never sees it.
        pattern: For ``regex``, what the answer looks like.
        prompt: Template of the prompt; None is the paper's.
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
    pattern: str | None = None
    prompt: str | None = None
    confirmation: tuple[Example, ...] = field(default=(), repr=False)

    def render_prompt(self, example: Example) -> str:
        """The text the model continues."""
        return render_prompt(example, self.prompt_suffix, self.prompt)

    def render_turn(self, example: Example, answers: Sequence[str]) -> str:
        """The text the model continues in the turn after these answers (see ``render_turn``)."""
        asked = example.turns[: len(answers) + 1]
        turns = [replace(example, instruction=instruction) for instruction in asked]
        return render_turn([self.render_prompt(turn) for turn in turns], answers)

    def examples(self, split: ScoredSplit) -> tuple[Example, ...]:
        """The examples of a split that is scored; those of ``test`` are read for it."""
        if split == "test":
            return self.test()
        return self.confirmation if split == "confirmation" else self.validation

    def test(self) -> tuple[Example, ...]:
        """The test split, read at each call, so that a search cannot meet it by accident."""
        return self.read_test()


@dataclass(frozen=True)
class TrainingSet:
    """A training mixture, in place of the benchmarks' own training splits.

    Attributes:
        name: As in ``task.train.name``.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        train: What a trial trains on.
        num_left_out: Examples that a validation or test split holds.
        prompt: Template of the prompt; None is the paper's.
    """

    name: str
    prompt_suffix: str
    train: tuple[Example, ...] = field(repr=False)
    num_left_out: int
    prompt: str | None = None

    def render_prompt(self, example: Example) -> str:
        """The text the model continues."""
        return render_prompt(example, self.prompt_suffix, self.prompt)


@dataclass(frozen=True)
class Overlap:
    """Examples that the files of two splits share; they are left out of the first.

    Attributes:
        split: ``<benchmark>/<split>``.
        other: ``<benchmark>/<split>`` that is more protected.
        num_exact: Examples with the same text.
        num_normalised: Further ones that differ in case and white space alone.
    """

    split: str
    other: str
    num_exact: int
    num_normalised: int


@dataclass(frozen=True)
class Task:
    """Benchmarks that are trained on together and scored one by one.

    Attributes:
        name: As in ``task.name``.
        benchmarks: In the order of ``task.benchmarks``.
        digests: ``<benchmark>/<split>`` to ``split_digest`` of every split but test, and
            ``<benchmark>/prompt`` to the sha256 of a prompt that is the benchmark's own.
        mixture: What is trained on, if it is not the benchmarks' own training splits.
        overlaps: Examples that two splits' files share.
        notes: What a user should know of the data though it is no fault, one line each.
    """

    name: str
    benchmarks: tuple[Benchmark, ...]
    digests: dict[str, str]
    mixture: TrainingSet | None = None
    overlaps: tuple[Overlap, ...] = ()
    notes: tuple[str, ...] = ()

    def all_digests(self) -> dict[str, str]:
        """``digests``, and those of the test splits, which are read for it.

        A test split decides what training and validation may hold, and a winner's last score.
        """
        tests = {
            f"{benchmark.name}/test": split_digest(benchmark.test())
            for benchmark in self.benchmarks
            if benchmark.num_test
        }
        return self.digests | tests

    def training_examples(self) -> tuple[tuple[Benchmark | TrainingSet, Example], ...]:
        """Every training example with the data set that says how it is prompted."""
        if self.mixture is not None:
            return tuple((self.mixture, example) for example in self.mixture.train)
        return tuple(
            (benchmark, example) for benchmark in self.benchmarks for example in benchmark.train
        )


def split_digest(examples: Iterable[Example]) -> str:
    """The sha256, in hex, over the examples' digests in their order."""
    return hashlib.sha256("\n".join(example.digest for example in examples).encode()).hexdigest()


def split_sizes(task: Task) -> dict[str, dict[str, int]]:
    """Examples of each benchmark (and the mixture) per split, and ``left_out``, for ``plan``."""
    sizes = {
        benchmark.name: {
            "train": len(benchmark.train),
            "validation": len(benchmark.validation),
            **({"confirmation": len(benchmark.confirmation)} if benchmark.confirmation else {}),
            "test": benchmark.num_test,
            "left_out": benchmark.num_left_out,
        }
        for benchmark in task.benchmarks
    }
    if task.mixture is not None:
        counts = {"train": len(task.mixture.train), "left_out": task.mixture.num_left_out}
        sizes[task.mixture.name] = counts
    return sizes
