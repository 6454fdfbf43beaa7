"""Draws a benchmark's splits from a seed, disjoint by construction."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .choice import draw_choice
from .functions import draw_function
from .word_problems import draw_word_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.tasks.records import Example

SPLITS: Final = ("train", "validation", "test")
_SPLIT_OF_REMAINDER: Final = ("train", "train", "validation", "test")


@dataclass(frozen=True)
class BuiltinBenchmark:
    """A benchmark that is generated instead of downloaded.

    Attributes:
        draw: Draws one example.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        max_new_tokens: Enough for every gold output, EOS included, with the built-in tokenizer.
        max_examples: The most examples a split offers; every split has well more to draw from,
            so that drawing ends soon.
    """

    draw: Callable[[random.Random], Example]
    prompt_suffix: str
    max_new_tokens: int
    max_examples: int


BUILTIN_BENCHMARKS: Final[dict[str, BuiltinBenchmark]] = {
    "builtin_choice": BuiltinBenchmark(draw_choice, "\n", 8, 2500),
    "builtin_math": BuiltinBenchmark(draw_word_problem, " Let's think step by step.", 20, 2500),
    "builtin_code": BuiltinBenchmark(draw_function, "\n", 32, 2500),
}


def generate(name: str, split: str, num_examples: int, seed: int) -> tuple[Example, ...]:
    """The first ``num_examples`` examples of a split.

    An example's words, taken as a bag, decide its split and its identity: two examples that
    differ in the order of the options only are the same example, and the splits stay disjoint
    whatever the seeds they were drawn from.

    Args:
        name: A key of ``BUILTIN_BENCHMARKS``.
        split: ``train``, ``validation`` or ``test``.
        num_examples: How many; fewer give a prefix of more.
        seed: Gives the examples and their order.

    Raises:
        ValueError: The benchmark or the split is unknown, or has fewer examples.
    """
    if name not in BUILTIN_BENCHMARKS:
        raise ValueError(f"`name` must be one of {sorted(BUILTIN_BENCHMARKS)}, but got {name!r}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}, but got {split!r}.")
    benchmark = BUILTIN_BENCHMARKS[name]
    if not 0 <= num_examples <= benchmark.max_examples:
        raise ValueError(
            f"{name} has {benchmark.max_examples} examples in each split, but got {num_examples=}."
        )
    rng = random.Random(f"{name}/{split}/{seed}")
    drawn: dict[str, Example] = {}
    while len(drawn) < num_examples:
        example = benchmark.draw(rng)
        identity = example_identity(example)
        if split_of(identity) == split:
            drawn.setdefault(identity, example)
    return tuple(drawn.values())


def example_identity(example: Example) -> str:
    """The sorted lower-case words and numbers of the instruction."""
    return " ".join(sorted(re.findall(r"[a-z0-9]+", example.instruction.lower())))


def split_of(identity: str) -> str:
    """Half of all identities are for training, a quarter each for validation and test."""
    remainder = hashlib.sha256(identity.encode()).digest()[0] % len(_SPLIT_OF_REMAINDER)
    return _SPLIT_OF_REMAINDER[remainder]
