"""Documents of short Python functions, described in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.functions import NAMES

if TYPE_CHECKING:
    from random import Random

NUMBER_STATEMENTS: Final = (
    ("add {}", "x + {}"),
    ("subtract {}", "x - {}"),
    ("multiply by {}", "x * {}"),
    ("divide by {}", "x // {}"),
    ("remainder of {}", "x % {}"),
    ("minimum with {}", "min(x, {})"),
    ("maximum with {}", "max(x, {})"),
)
LIST_STATEMENTS: Final = (
    ("sum", "sum(x)"),
    ("length", "len(x)"),
    ("maximum", "max(x)"),
    ("minimum", "min(x)"),
    ("first item", "x[0]"),
    ("last item", "x[-1]"),
    ("reverse", "x[::-1]"),
    ("sort", "sorted(x)"),
)


def draw_program_document(rng: Random) -> list[tuple[str, bool]]:
    """A function under a comment that names it and says what it does."""
    name = rng.choice(NAMES)
    words, program = _draw_program(rng, name)
    return [(f"# {name}: {', '.join(words)}\n", False), (program, True)]


def draw_program_instruction(rng: Random) -> tuple[str, str]:
    """A function asked for by its name and plain words."""
    name = rng.choice(NAMES)
    words, program = _draw_program(rng, name)
    return f"Define {name} to {' and then '.join(words)}.", program


def _draw_program(rng: Random, name: str) -> tuple[list[str], str]:
    """The words for each of one to three statements, and their function."""
    steps = [rng.choice(LIST_STATEMENTS)] if rng.random() < 0.5 else []
    steps += rng.choices(NUMBER_STATEMENTS, k=rng.randint(1, 2))
    operands = [rng.randint(2, 6) for _ in steps]
    words = [words.format(operand) for (words, _), operand in zip(steps, operands, strict=True)]
    values = [value.format(operand) for (_, value), operand in zip(steps, operands, strict=True)]
    body = "".join(f"    x = {value}\n" for value in values[:-1])
    return words, f"def {name}(x):\n{body}    return {values[-1]}"
