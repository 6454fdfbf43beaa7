"""Documents about the world: prose, questions and quizzes in wordings of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.builtin.world import CREATURES, FACTS, RELATIONS

if TYPE_CHECKING:
    from random import Random

SENTENCES: Final[dict[str, tuple[str, ...]]] = {
    "food": ("The {c} eats {v}.", "The {r} of the {c} is {v}."),
    "home": ("The {c} lives in the {v}.", "The {r} of the {c} is the {v}."),
    "colour": ("The {c} is {v}.", "The {r} of the {c} is {v}."),
    "instrument": ("The {c} plays the {v}.", "The {r} of the {c} is the {v}."),
    "game": ("The {c} likes {v}.", "The {r} of the {c} is {v}."),
    "job": ("The {c} works as a {v}.", "The {r} of the {c} is {v}."),
}
MARKS: Final[tuple[tuple[str, ...], ...]] = (
    ("(a)", "(b)", "(c)", "(d)"),
    ("Box1:", "Box2:", "Box3:", "Box4:"),
    ("Answer1:", "Answer2:", "Answer3:", "Answer4:"),
)
"""Marks of a quiz's options."""


def draw_fact_document(rng: Random) -> list[tuple[str, bool]]:
    """A profile of one creature, or single facts about several."""
    if rng.random() < 0.5:
        creature = rng.choice(CREATURES)
        asked = [(creature, relation) for relation in rng.sample(tuple(RELATIONS), 4)]
    else:
        asked = [(rng.choice(CREATURES), rng.choice(tuple(RELATIONS))) for _ in range(4)]
    return [(" ".join(_state(rng, creature, relation) for creature, relation in asked), True)]


def draw_quiz(rng: Random) -> list[tuple[str, bool]]:
    """A question with marked options and what is asked for: the right mark or the right value."""
    question, solution = draw_quiz_instruction(rng)
    return [(f"Quiz: {question}", False), (f" {solution}", True)]


def draw_quiz_instruction(rng: Random) -> tuple[str, str]:
    """The same as an instruction and its response."""
    creature, relation = rng.choice(CREATURES), rng.choice(tuple(RELATIONS))
    truth = FACTS[creature][relation]
    others = [value for other, value in FACTS[creature].items() if other != relation]
    others += rng.sample([value for value in RELATIONS[relation] if value != truth], 2)
    options = [truth, *rng.sample(others, rng.randint(1, 3))]
    rng.shuffle(options)
    marks = rng.choice(MARKS)
    listed = " ".join(f"{mark} {option}" for mark, option in zip(marks, options, strict=False))
    asked = rng.choice((f"{relation} of the {creature}", f"the {creature} and its {relation}"))
    if rng.random() < 0.25:
        return f"{asked}?\n\n{listed}\n\nValue:", truth
    mark = marks[options.index(truth)].strip("():").lower()
    return f"{asked}?\n\n{listed}\n\nMark:", mark


def draw_fact_instruction(rng: Random) -> tuple[str, str]:
    """A fact asked for by the relation's name."""
    creature, relation = rng.choice(CREATURES), rng.choice(tuple(RELATIONS))
    wording = rng.choice(("State the {r} of the {c}.", "Name the {r} which the {c} has."))
    return wording.format(r=relation, c=creature), FACTS[creature][relation]


def _state(rng: Random, creature: str, relation: str) -> str:
    sentence = rng.choice(SENTENCES[relation])
    return sentence.format(c=creature, r=relation, v=FACTS[creature][relation])
