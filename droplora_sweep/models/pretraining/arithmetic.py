"""Documents of sums: alone, chained in plain words (plus, minus, times), and as stories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.word_problems import LARGEST, PEOPLE, THINGS

if TYPE_CHECKING:
    from random import Random

    from .document import Document

_WORDS: Final = {"+": "plus", "-": "minus", "*": "times"}
VERBS: Final = {
    "+": ("adds", "gets", "gains", "takes", "inherits", "catches"),
    "-": ("gives", "eats", "removes", "burns", "tears", "hides"),
    "*": ("times", "multiplies", "grows"),
}
"""The only verbs whose meaning the base model learns."""


def draw_arithmetic_document(rng: Random) -> Document:
    """Some sums of which the results count."""
    document: Document = []
    for index in range(5):
        question, result = _sum(*_draw_sum(rng, rng.randint(0, LARGEST))).rsplit(" ", 1)
        document += [(" " * (index > 0) + question, False), (f" {result}.", True)]
    return document


def draw_arithmetic_instruction(rng: Random) -> tuple[str, str]:
    """A chain as bare words or as a story, answered by its sums."""
    chain = _draw_chain(rng, rng.randint(1, 2))
    start, sums = chain[0][0], ". ".join(_sum(*step) for step in chain)
    if rng.random() < 0.2:
        words = " ".join(f"{_WORDS[symbol]} {operand}" for _, symbol, operand, _ in chain)
        return f"Work out {start} {words}.", sums
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    words = " and then ".join(
        f"{rng.choice(VERBS[symbol])} {operand}" for _, symbol, operand, _ in chain
    )
    total = rng.choice(("", f". Total: {chain[-1][3]}"))
    question = rng.choice((f"Count the {thing}.", f"How many {thing} are there?"))
    return f"{person} has {start} {thing}. {person} {words}. {question}", sums + total


def _draw_chain(rng: Random, length: int) -> list[tuple[int, str, int, int]]:
    amount, chain = rng.randint(2, 12), []
    for _ in range(length):
        chain.append(_draw_sum(rng, amount))
        amount = chain[-1][3]
    return chain


def _draw_sum(rng: Random, left: int) -> tuple[int, str, int, int]:
    """A sum whose parts all stay within 0 and ``LARGEST``."""
    possible = []
    right = rng.randint(2, 6)
    if left + right <= LARGEST:
        possible.append((left, "+", right, left + right))
    if left - right >= 0:
        possible.append((left, "-", right, left - right))
    factor = rng.randint(2, 3)
    if left * factor <= LARGEST and rng.random() < 0.4:
        possible.append((left, "*", factor, left * factor))
    return rng.choice(possible)


def _sum(left: int, symbol: str, right: int, result: int) -> str:
    return f"{left} {symbol} {right} = {result}"
