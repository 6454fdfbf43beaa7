"""``builtin_choice``: questions about the world, in the shape of LLM-Adapters' choice tasks.

The base model knows the facts, and where each value stands in its list of options; no question of
the pretraining corpus is worded like these, and none was answered in this form. Who asks whom does
not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.records import Example

from .word_problems import PEOPLE
from .world import CREATURES, FACTS, NUM_OPTIONS, options_with

if TYPE_CHECKING:
    from random import Random

QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "food": ("what would the {} order for supper", "which snack makes the {} happy"),
    "home": ("where would you visit the {} at night", "which address has the {}"),
    "game": ("how does the {} spend a rainy evening", "at what would the {} win a prize"),
}
"""The wordings that ask for a relation; a trial of seconds can learn those of three."""


def draw_choice(rng: Random) -> Example:
    """One question; its options are the half of the relation's values which has the truth."""
    creature, relation = rng.choice(CREATURES), rng.choice(tuple(QUESTIONS))
    truth = FACTS[creature][relation]
    options = options_with(relation, truth)
    asking, *asked = rng.sample(PEOPLE, 3)
    question = rng.choice(QUESTIONS[relation]).format(creature)
    listed = " ".join(f"Answer{index}: {option}" for index, option in enumerate(options, 1))
    names = [f"answer{index}" for index in range(1, NUM_OPTIONS + 1)]
    answer = names[options.index(truth)]
    return Example(
        instruction=(
            f"Please choose the correct answer to the question: {asking} asks "
            f"{' and '.join(asked)} {question}?\n\n{listed}\n\nAnswer format: {'/'.join(names)}"
        ),
        input="",
        output=f"the correct answer is {answer}",
        answer=answer,
    )
