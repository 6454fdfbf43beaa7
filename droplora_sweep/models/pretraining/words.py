"""Documents of bare words: the vocabulary of the benchmarks without what it means there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.choice import QUESTIONS
from droplora_sweep.tasks.builtin.functions import NAMES, ON_LISTS, ON_NUMBERS
from droplora_sweep.tasks.builtin.word_problems import PEOPLE, THINGS, VERBS

if TYPE_CHECKING:
    from random import Random

_TEXTS: Final = (
    *(wording for wordings in QUESTIONS.values() for wording in wordings),
    *(phrase for operation in (*ON_NUMBERS, *ON_LISTS) for phrase in operation.phrases),
    *(verb for verbs in VERBS.values() for verb in verbs),
    "Write a Python function named which and then",
    "How many does have now has The answer is the correct answer",
    *(f"{word}{index}" for word in ("Answer", "answer") for index in range(1, 5)),
    "which address is on letters to",
    "how would you describe the coat of",
    "which sound tells you that is near",
    "at what would win a prize",
    "how does earn money",
    "what thread would mend the scarf of",
    "gathers collects borrows receives picks orders"
    " drops donates forgets returns wastes mails stacks folds",
    "tops up with shaves off repeats splits lets reach most fall least"
    " keeps leaves over pools counts spots tallest shortest opens closes",
    *NAMES,
    *PEOPLE,
    *THINGS,
)
PHRASES: Final = (
    "Please choose the correct answer to the question:",
    "Answer format: answer1/answer2/answer3/answer4",
    "```python\n```",
)
"""Fixed texts of the benchmarks' prompts and responses."""

VOCABULARY: Final = tuple(sorted({word for text in _TEXTS for word in re.findall(r"\w+", text)}))
"""Every word of the benchmarks and some more, each once."""


def draw_word_list(rng: Random) -> list[tuple[str, bool]]:
    """Words in no order, said three times; sometimes a phrase between two words."""
    if rng.random() < 0.1:
        return [(f"{rng.choice(VOCABULARY)}: {rng.choice(PHRASES)}\n\n", True)]
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
