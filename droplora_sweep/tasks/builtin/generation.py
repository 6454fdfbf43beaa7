"""Draw a built-in benchmark's splits from a seed, disjoint by construction; its functions to write.

Each function is two statements: a first operation on a number or a list, then one on a number.
The tests of an example are computed by the reference operations below, never by the model.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.task import Example

from .questions import answer_wrongly, draw_choice, draw_open_question, draw_word_problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


NAMES: Final = ("blend", "forge", "shape", "weave", "solve", "train", "build", "score")


@dataclass(frozen=True)
class Operation:
    """Operation that a phrase asks for.

    Attributes:
        phrases: The wordings; ``{}`` stands for the operand where the operation has one.
        expression: Python over ``x``, with ``{}`` for the operand.
        apply: The same computation, used to write the expected values.
    """

    phrases: tuple[str, ...]
    expression: str
    apply: Callable[..., int]


ON_NUMBERS: Final = (
    Operation(("lifts it by {}", "tops it up with {}"), "x + {}", lambda x, k: x + k),
    Operation(("lowers it by {}", "shaves off {}"), "x - {}", lambda x, k: x - k),
    Operation(("scales it by {}", "repeats it {} times"), "x * {}", lambda x, k: x * k),
    Operation(("shares it among {}", "splits it by {}"), "x // {}", lambda x, k: x // k),
    Operation(("wraps it around {}", "keeps what {} leaves over"), "x % {}", lambda x, k: x % k),
    Operation(("caps it at {}", "stops it above {}"), "min(x, {})", min),
    Operation(("floors it at {}", "stops it below {}"), "max(x, {})", max),
)
ON_LISTS: Final = (
    Operation(("totals the list", "pools the list"), "sum(x)", sum),
    Operation(("sizes the list", "counts the list"), "len(x)", len),
    Operation(("takes the peak", "spots the tallest"), "max(x)", max),
    Operation(("takes the dip", "spots the shortest"), "min(x)", min),
    Operation(("grabs the head", "opens the list"), "x[0]", lambda x: x[0]),
    Operation(("grabs the tail", "closes the list"), "x[-1]", lambda x: x[-1]),
)
NUMBER_ARGUMENTS: Final = (0, 5, 17, 40)
LIST_ARGUMENTS: Final = ([3, 1, 8], [9], [4, 12, 2, 6])


def draw_function(rng: Random) -> Example:
    """One function of two statements, with one assert for each argument."""
    name = rng.choice(NAMES)
    takes_list = rng.random() < 0.5
    first = rng.choice(ON_LISTS if takes_list else ON_NUMBERS)
    second = rng.choice([operation for operation in ON_NUMBERS if operation is not first])
    first_operand = () if takes_list else (rng.randint(2, 6),)
    second_operand = rng.randint(2, 6)
    first_phrase = rng.choice(first.phrases).format(*first_operand)
    second_phrase = rng.choice(second.phrases).format(second_operand)
    arguments = LIST_ARGUMENTS if takes_list else NUMBER_ARGUMENTS
    return Example(
        instruction=(
            f"Write a Python function named {name} which {first_phrase} and then {second_phrase}."
        ),
        input="",
        output=(
            f"```python\ndef {name}(x):\n"
            f"    x = {first.expression.format(*first_operand)}\n"
            f"    return {second.expression.format(second_operand)}\n```"
        ),
        answer="\n".join(
            f"assert {name}({argument}) == "
            f"{second.apply(first.apply(argument, *first_operand), second_operand)}"
            for argument in arguments
        ),
    )


SPLITS: Final = ("train", "validation", "test")
_SPLIT_OF_REMAINDER: Final = ("train", "train", "validation", "test")


MAX_EXAMPLES: Final = 2_500
"""Most examples that a split offers: every split has well more to draw from, so that drawing ends
soon."""


@dataclass(frozen=True, kw_only=True)
class BuiltinBenchmark:
    """A benchmark that is generated instead of downloaded.

    Attributes:
        draw: Draws one example.
        scoring: Name of its scorer.
        options: Names of the options, where it has some.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        max_new_tokens: Enough for every gold output, EOS included, with the built-in tokenizer.
        share_wrong: Share of training examples whose answer is wrong, from 0 to 1; those of the
            other splits are right.
        answer_wrongly: Gives an example another, wrong answer; needed where some are wrong.
    """

    draw: Callable[[random.Random], Example]
    scoring: str
    options: tuple[str, ...] = ()
    prompt_suffix: str
    max_new_tokens: int
    share_wrong: float = 0.0
    answer_wrongly: Callable[[Example, random.Random], Example] | None = None


BUILTIN_BENCHMARKS: Final[dict[str, BuiltinBenchmark]] = {
    "builtin_choice": BuiltinBenchmark(
        draw=draw_choice,
        scoring="choice",
        options=("answer1", "answer2", "answer3", "answer4", "answer5"),
        prompt_suffix="\n",
        max_new_tokens=8,
    ),
    "builtin_math": BuiltinBenchmark(
        draw=draw_word_problem,
        scoring="number",
        prompt_suffix=" Let's think step by step.",
        max_new_tokens=20,
    ),
    "builtin_code": BuiltinBenchmark(
        draw=draw_function, scoring="code", prompt_suffix="\n", max_new_tokens=32
    ),
    "builtin_noisy": BuiltinBenchmark(
        draw=draw_open_question,
        scoring="exact",
        prompt_suffix="\n",
        max_new_tokens=4,
        share_wrong=0.25,
        answer_wrongly=answer_wrongly,
    ),
}
"""In ``builtin_noisy`` a model meets what hand-made labels are like: one in four of the training
split is wrong. A model that learns those by heart is wrong elsewhere too."""


def generate(name: str, split: str, num_examples: int, seed: int) -> tuple[Example, ...]:
    """Return the first ``num_examples`` examples of a split.

    An example's words, taken as a bag, decide its split and its identity: two examples that
    differ in the order of the options only are the same example, and the splits stay disjoint
    whatever the seeds they were drawn from.

    Args:
        name: A key of ``BUILTIN_BENCHMARKS``.
        split: ``train``, ``validation`` or ``test``.
        num_examples: Length; a shorter split is the beginning of a longer one.
        seed: Gives the examples and their order.

    Raises:
        ValueError: The benchmark or the split is unknown, or has fewer examples.
    """
    if name not in BUILTIN_BENCHMARKS:
        raise ValueError(f"`name` must be one of {sorted(BUILTIN_BENCHMARKS)}, but got {name!r}.")
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}, but got {split!r}.")
    benchmark = BUILTIN_BENCHMARKS[name]
    if not 0 <= num_examples <= MAX_EXAMPLES:
        raise ValueError(
            f"{name} has {MAX_EXAMPLES} examples in each split, but got {num_examples=}."
        )
    rng = random.Random(f"{name}/{split}/{seed}")
    drawn: dict[str, Example] = {}
    while len(drawn) < num_examples:
        example = benchmark.draw(rng)
        identity = example_identity(example)
        if split_of(identity) == split:
            drawn.setdefault(identity, example)
    if split != "train" or benchmark.answer_wrongly is None:
        return tuple(drawn.values())
    # A stream of its own for each example, so that a shorter split is the beginning of a longer.
    streams = {identity: random.Random(f"{name}/wrong/{seed}/{identity}") for identity in drawn}
    return tuple(
        benchmark.answer_wrongly(example, streams[identity])
        if streams[identity].random() < benchmark.share_wrong
        else example
        for identity, example in drawn.items()
    )


def example_identity(example: Example) -> str:
    """The sorted lower-case words and numbers of the instruction."""
    return " ".join(sorted(re.findall(r"[a-z0-9]+", example.instruction.lower())))


def split_of(identity: str) -> str:
    """Half of all identities are for training, a quarter each for validation and test."""
    remainder = hashlib.sha256(identity.encode()).digest()[0] % len(_SPLIT_OF_REMAINDER)
    return _SPLIT_OF_REMAINDER[remainder]
