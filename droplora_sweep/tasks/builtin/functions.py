"""``builtin_code``: short Python functions asked for in words the base model has not seen.

Each function is two statements: a first operation on a number or a list, then one on a number.
The tests of an example are computed by the reference operations below, never by the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.records import Example

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NAMES: Final = ("blend", "forge", "shape", "weave", "solve", "train", "build", "score")


@dataclass(frozen=True)
class Operation:
    """What a phrase asks for.

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
