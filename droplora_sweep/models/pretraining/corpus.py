"""The pretraining corpus: short documents drawn from a seed; sums and programs among them.

It teaches what the built-in benchmarks build on (the world's facts, sums, Python, picking one of
several options, following an instruction) and none of what they ask for: their question
wordings, verbs, phrases and answer formats occur only as bare words in lists, some of them next to
words of like meaning.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from droplora_sweep.tasks.builtin.generation import NAMES
from droplora_sweep.tasks.builtin.questions import LARGEST, PEOPLE, THINGS
from droplora_sweep.tasks.task import TEMPLATE

from .documents import (
    Document,
    draw_copying_instruction,
    draw_fact_document,
    draw_fact_instruction,
    draw_quiz,
    draw_quiz_instruction,
    draw_synonyms,
    draw_word_list,
)

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


_Draw = Callable[[Random], Document]

DOCUMENTS: Final[tuple[tuple[_Draw, float], ...]] = (
    (draw_fact_document, 0.11),
    (draw_quiz, 0.10),
    (draw_arithmetic_document, 0.08),
    (draw_program_document, 0.05),
    (draw_word_list, 0.06),
    (draw_synonyms, 0.10),
)
"""Plain documents with the share of the corpus each kind has."""

INSTRUCTIONS: Final[tuple[tuple[Callable[[Random], tuple[str, str]], float], ...]] = (
    (draw_fact_instruction, 0.05),
    (draw_quiz_instruction, 0.15),
    (draw_arithmetic_instruction, 0.15),
    (draw_program_instruction, 0.13),
    (draw_copying_instruction, 0.02),
)
"""Instruction and response, put into the paper's prompt, with their shares."""


def documents(seed: int) -> Iterator[Document]:
    """Endless documents; the same for the same seed."""
    rng = Random(f"pretraining/{seed}")
    kinds: list[_Draw] = [draw for draw, _ in DOCUMENTS]
    kinds += [_in_prompt(draw) for draw, _ in INSTRUCTIONS]
    shares = [share for _, share in (*DOCUMENTS, *INSTRUCTIONS)]
    while True:
        draw = rng.choices(kinds, shares)[0]
        yield draw(rng)


def corpus_digest(seed: int, num_documents: int) -> str:
    """The sha256 over the first documents of a seed, each ended by a NUL byte."""
    digest = hashlib.sha256()
    for document in itertools.islice(documents(seed), num_documents):
        digest.update("".join(text for text, _ in document).encode() + b"\0")
    return digest.hexdigest()


def _in_prompt(draw: Callable[[Random], tuple[str, str]]) -> _Draw:
    def draw_in_prompt(rng: Random) -> Document:
        instruction, response = draw(rng)
        suffix = " Let's think step by step." if rng.random() < 0.3 else "\n"
        return [(TEMPLATE.format(instruction=instruction) + suffix, False), (response, True)]

    return draw_in_prompt
