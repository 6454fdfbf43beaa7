"""Documents of short Python functions, described in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.functions import NAMES

if TYPE_CHECKING:
    from random import Random

    from .document import Document

NUMBER_STATEMENTS: Final = {
    "x + {}": ("add {}", "plus {}", "increase it by {}", "put {} on it", "raise it by {}"),
    "x - {}": ("subtract {}", "minus {}", "decrease it by {}", "take {} off it"),
    "x * {}": ("multiply by {}", "times {}", "grow it {} times", "multiply it with {}"),
    "x // {}": ("divide by {}", "quotient by {}", "cut it into {} parts", "divide it over {}"),
    "x % {}": ("remainder of {}", "modulo {}", "rest after {}", "take it modulo {}"),
    "min(x, {})": ("minimum with {}", "at most {}", "limit it to {}", "smaller of it and {}"),
    "max(x, {})": ("maximum with {}", "at least {}", "keep it above {}", "larger of it and {}"),
}
"""Expressions of a number with their wordings."""

LIST_STATEMENTS: Final = {
    "sum(x)": ("sum", "add all items", "sum of the items"),
    "len(x)": ("length", "number of items", "how long it is"),
    "max(x)": ("maximum", "largest item", "biggest one"),
    "min(x)": ("minimum", "smallest item", "least one"),
    "x[0]": ("first item", "item at the start", "begin of it"),
    "x[-1]": ("last item", "item at the end", "final one"),
}
"""Expressions of a list with their wordings."""


def draw_program_document(rng: Random) -> Document:
    """A function under a comment that names it and says what it does."""
    name = rng.choice(NAMES)
    words, program = _draw_program(rng, name)
    return [(f"# {name}: {', '.join(words)}\n", False), (program, True)]


def draw_program_instruction(rng: Random) -> tuple[str, str]:
    """A function asked for by its name and plain words."""
    name = rng.choice(NAMES)
    words, program = _draw_program(rng, name)
    wanted = rng.choice((f"Define {name} to", f"Code for {name} which"))
    return f"{wanted} {' and then '.join(words)}.", program


def _draw_program(rng: Random, name: str) -> tuple[list[str], str]:
    """The words for each of one to three statements, and their function."""
    steps = rng.choices(tuple(NUMBER_STATEMENTS.items()), k=rng.randint(1, 2))
    if rng.random() < 0.5:
        steps.insert(0, rng.choice(tuple(LIST_STATEMENTS.items())))
    operands = [rng.randint(2, 6) for _ in steps]
    words = [
        rng.choice(wordings).format(operand)
        for (_, wordings), operand in zip(steps, operands, strict=True)
    ]
    values = [value.format(operand) for (value, _), operand in zip(steps, operands, strict=True)]
    body = "".join(f"    x = {value}\n" for value in values[:-1])
    return words, f"def {name}(x):\n{body}    return {values[-1]}"
