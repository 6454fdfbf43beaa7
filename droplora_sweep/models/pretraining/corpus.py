"""The pretraining corpus: short documents drawn from a seed.

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

from droplora_sweep.tasks.prompts import TEMPLATE

from .arithmetic import draw_arithmetic_document, draw_arithmetic_instruction
from .document import Document
from .facts import (
    draw_fact_document,
    draw_fact_instruction,
    draw_quiz,
    draw_quiz_instruction,
)
from .programs import draw_program_document, draw_program_instruction
from .words import draw_copying_instruction, draw_synonyms, draw_word_list

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
