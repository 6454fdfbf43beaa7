"""Documents about the world: prose, questions and quizzes in wordings of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.world import CREATURES, FACTS, RELATIONS, options_with

if TYPE_CHECKING:
    from random import Random

    from .document import Document

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
"""What a solution begins with, so that the model can name it at any place of a response."""


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
