"""Documents of words, facts and quizzes that the built-in model is pretrained on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.generation import NAMES, ON_LISTS, ON_NUMBERS
from droplora_sweep.tasks.builtin.questions import (
    CREATURES,
    FACTS,
    PEOPLE,
    QUESTIONS,
    RELATIONS,
    THINGS,
    VERBS,
    options_with,
)

if TYPE_CHECKING:
    from random import Random


Document = list[tuple[str, bool]]
"""Pieces of text, each with whether the loss counts it: what was drawn cannot be learned."""


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


SENTENCES: Final[dict[str, tuple[str, ...]]] = {
    "food": ("The {c} eats {v}.", "The {r} of the {c} is {v}."),
    "home": ("The {c} lives in the {v}.", "The {r} of the {c} is the {v}."),
    "colour": ("The {c} is {v}.", "The {r} of the {c} is {v}."),
    "instrument": ("The {c} plays the {v}.", "The {r} of the {c} is the {v}."),
    "game": ("The {c} likes {v}.", "The {r} of the {c} is {v}."),
    "job": ("The {c} works as a {v}.", "The {r} of the {c} is {v}."),
}
FACT_QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "food": ("what does the {c} eat", "what is the {c} fed with"),
    "home": ("where does the {c} live", "what is home to the {c}"),
    "colour": ("what colour is the {c}", "how is the {c} coloured"),
    "instrument": ("what does the {c} play", "which music does the {c} make"),
    "game": ("what does the {c} like", "which fun does the {c} have"),
    "job": ("what does the {c} work as", "what is the trade of the {c}"),
}
NAMING_QUESTIONS: Final = ("{r} of the {c}", "the {c} and its {r}")
"""Wordings that ask for any relation by its name."""

MARKS: Final = ("Box{}:", "Item{}:")
"""Marks of a quiz's options, numbered from 1."""


LEADS: Final = ("", "", "it is ", "my choice is ", "the one to pick is ", "the right mark is ")
"""Beginnings of a solution, so that the model can name it at any place of a response."""


def draw_fact_document(rng: Random) -> Document:
    """A profile of one creature, or single facts about several."""
    if rng.random() < 0.5:
        creature = rng.choice(CREATURES)
        asked = [(creature, relation) for relation in rng.sample(tuple(RELATIONS), 4)]
    else:
        asked = [(rng.choice(CREATURES), rng.choice(tuple(RELATIONS))) for _ in range(4)]
    return [(" ".join(_state(rng, creature, relation) for creature, relation in asked), True)]


def draw_quiz(rng: Random) -> Document:
    """A question with marked options and what is asked for: the right mark or the right value."""
    question, solution = draw_quiz_instruction(rng)
    return [(f"Quiz: {question}", False), (f" {solution}", True)]


def draw_quiz_instruction(rng: Random) -> tuple[str, str]:
    """The same as an instruction and its response."""
    creature, relation = rng.choice(CREATURES), rng.choice(tuple(RELATIONS))
    truth = FACTS[creature][relation]
    options = options_with(relation, truth)
    mark = rng.choice(MARKS)
    listed = " ".join(f"{mark.format(index)} {value}" for index, value in enumerate(options, 1))
    question = _question(rng, creature, relation)
    if rng.random() < 0.25:
        return f"{question}?\n\n{listed}\n\nValue:", rng.choice(LEADS) + truth
    spoken = mark.format(options.index(truth) + 1).strip(":").lower()
    return f"{question}?\n\n{listed}\n\nMark:", rng.choice(LEADS) + spoken


def draw_fact_instruction(rng: Random) -> tuple[str, str]:
    """A fact asked for without options."""
    creature, relation = rng.choice(CREATURES), rng.choice(tuple(RELATIONS))
    return f"{_question(rng, creature, relation)}?", FACTS[creature][relation]


def _question(rng: Random, creature: str, relation: str) -> str:
    wording = rng.choice((*FACT_QUESTIONS[relation], *NAMING_QUESTIONS))
    return wording.format(c=creature, r=relation)


def _state(rng: Random, creature: str, relation: str) -> str:
    sentence = rng.choice(SENTENCES[relation])
    return sentence.format(c=creature, r=relation, v=FACTS[creature][relation])
