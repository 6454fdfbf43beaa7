"""``builtin_math``: short word problems whose verbs hide the operations.

The base model knows the sums; which verb adds, takes away or multiplies is what fine-tuning
teaches, since no verb occurs with its meaning in the pretraining corpus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.records import Example

if TYPE_CHECKING:
    from random import Random

PEOPLE: Final = ("Ann", "Tom", "Eva", "Sam", "Mia", "Leo", "Ida", "Max", "Zoe", "Ben", "Lea", "Kai")
THINGS: Final = ("apples", "pens", "coins", "stamps", "shells", "cups", "books", "kites")
LARGEST: Final = 30
"""Amounts stay within 0 and this, the range of the sums the base model knows."""

VERBS: Final[dict[str, tuple[str, ...]]] = {
    "+": ("finds", "buys", "wins", "earns", "gathers", "collects"),
    "-": ("loses", "sells", "breaks", "spends", "drops", "donates"),
    "*": ("breeds", "copies"),
}
"""The verbs of each operation."""


def draw_word_problem(rng: Random) -> Example:
    """Two steps from a start amount, e.g. ``7 + 5 = 12. 12 - 3 = 9. The answer is: 9``."""
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    start = rng.randint(3, 12)
    first, amount_after_first, first_sum = _draw_step(rng, start)
    second, amount, second_sum = _draw_step(rng, amount_after_first)
    return Example(
        instruction=(
            f"{person} has {start} {thing}. {person} {first} and then {second}. "
            f"How many {thing} does {person} have now?"
        ),
        input="",
        output=f"{first_sum}. {second_sum}. The answer is: {amount}",
        answer=str(amount),
    )


def _draw_step(rng: Random, amount: int) -> tuple[str, int, str]:
    """The step's words, the amount after it and its sum, e.g. ``("finds 5", 12, "7 + 5 = 12")``."""
    symbol = rng.choices(tuple(VERBS), weights=[len(verbs) for verbs in VERBS.values()])[0]
    operand = rng.randint(2, 6)
    if symbol == "-" and operand > amount:
        symbol = "+"
    if symbol == "*":
        operand = rng.randint(2, 3)
    results = {"+": amount + operand, "-": amount - operand, "*": amount * operand}
    if results[symbol] > LARGEST:
        symbol = "-"
        results["-"] = amount - operand
    verb = rng.choice(VERBS[symbol])
    return f"{verb} {operand}", results[symbol], f"{amount} {symbol} {operand} = {results[symbol]}"
