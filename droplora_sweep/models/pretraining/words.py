"""Documents of bare words: the vocabulary of the benchmarks and which words are alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.choice import QUESTIONS
from droplora_sweep.tasks.builtin.functions import NAMES, ON_LISTS, ON_NUMBERS
from droplora_sweep.tasks.builtin.word_problems import PEOPLE, THINGS, VERBS

if TYPE_CHECKING:
    from random import Random

    from .document import Document

_TEXTS: Final = (
    *(wording for wordings in QUESTIONS.values() for wording in wordings),
    "which paint would match the what thread would mend the scarf of the",
    "what does the bring to the band which sound does the practise",
    "whose tools does the carry what is written on the shop of the",
    *(phrase for operation in (*ON_NUMBERS, *ON_LISTS) for phrase in operation.phrases),
    *(verb for verbs in VERBS.values() for verb in verbs),
    "Write a Python function named which and then",
    "asks How many does have now has The answer is the correct answer",
    *(f"{word}{index}" for word in ("Answer", "answer") for index in range(1, 5)),
    *NAMES,
    *PEOPLE,
    *THINGS,
)
PHRASES: Final = (
    "Please choose the correct answer to the question:",
    "Answer format: answer1/answer2/answer3/answer4",
    "Answer1: Answer2: Answer3: Answer4:",
    "Write a Python function named",
    "```python\n```",
)
"""Fixed texts of the benchmarks' prompts and responses."""

VOCABULARY: Final = tuple(sorted({word for text in _TEXTS for word in re.findall(r"\w+", text)}))
"""Every word of the benchmarks, each once."""

SYNONYMS: Final = (
    ("adds", "gets", "gains", "takes", "inherits", "catches", "finds", "buys", "wins", "earns"),
    ("gives", "eats", "removes", "burns", "tears", "hides", "loses", "sells", "breaks", "spends"),
    ("times", "multiplies", "grows", "breeds"),
    ("food", "eat", "fed", "supper"),
    ("home", "live", "visit", "night"),
    ("colour", "coloured", "paint", "match"),
    ("instrument", "play", "music", "band"),
    ("game", "like", "fun", "rainy", "evening"),
    ("job", "work", "trade", "tools"),
    ("add", "plus", "increase", "raise", "lifts"),
    ("subtract", "minus", "decrease", "lowers"),
    ("multiply", "grow", "scales"),
    ("divide", "quotient", "shares", "among"),
    ("sum", "add", "totals"),
    ("length", "number", "long", "sizes"),
    ("maximum", "largest", "biggest", "peak"),
    ("minimum", "smallest", "least", "dip"),
    ("first", "start", "begin", "head"),
    ("last", "end", "final", "tail"),
)
"""Words of like meaning: some of each benchmark's next to words the base model can use.

The benchmarks' other words have no meaning before fine-tuning.
"""


def draw_word_list(rng: Random) -> Document:
    """Words in no order, said three times; sometimes a phrase between two words."""
    if rng.random() < 0.2:
        return [(f"{rng.choice(VOCABULARY)}:\n\n{rng.choice(PHRASES)}", True)]
    words = " ".join(rng.choices(VOCABULARY, k=rng.randint(3, 7)))
    return [(f"Words: {words}.", False), (f" Again: {words}. Again: {words}.", True)]


def draw_copying_instruction(rng: Random) -> tuple[str, str]:
    """Repeating a list of words, or the word at a place of it."""
    words = rng.sample(VOCABULARY, 4)
    if rng.random() < 0.5:
        return f"Repeat: {' '.join(words)}.", " ".join(words)
    place = rng.randrange(len(words))
    ordinal = ("first", "second", "third", "fourth")[place]
    return f"Repeat the {ordinal} word: {' '.join(words)}.", words[place]


def draw_synonyms(rng: Random) -> Document:
    """Words of like meaning in no order."""
    words = rng.choice(SYNONYMS)
    return [(f"Alike: {' '.join(rng.sample(words, min(4, len(words))))}.", True)]
