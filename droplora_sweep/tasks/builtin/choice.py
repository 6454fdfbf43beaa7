"""``builtin_choice``: questions about the world, in the shape of LLM-Adapters' choice tasks.

The wrong options are mostly other facts of the *same* creature, so neither the creature nor the
kind of the options gives the answer away: the wording of the question decides, and no wording
occurs in the pretraining corpus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.records import Example

from .world import CREATURES, FACTS, RELATIONS

if TYPE_CHECKING:
    from random import Random

NUM_OPTIONS: Final = 4

QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "food": ("what would the {} order for supper",),
    "home": ("where would you visit the {} at night",),
    "colour": ("which paint would match the {}",),
    "instrument": ("what does the {} bring to the band",),
    "game": ("how does the {} spend a rainy evening",),
    "job": ("whose tools does the {} carry",),
}
"""The wordings that ask for each relation."""


def draw_choice(rng: Random) -> Example:
    """One question; two wrong options are the creature's own, one is of the asked relation."""
    creature = rng.choice(CREATURES)
    relation = rng.choice(tuple(RELATIONS))
    truth = FACTS[creature][relation]
    same_creature = [value for other, value in FACTS[creature].items() if other != relation]
    same_relation = [value for value in RELATIONS[relation] if value != truth]
    options = [truth, *rng.sample(same_creature, 2), *rng.sample(same_relation, 1)]
    rng.shuffle(options)
    question = rng.choice(QUESTIONS[relation]).format(creature)
    listed = " ".join(f"Answer{index}: {option}" for index, option in enumerate(options, 1))
    names = [f"answer{index}" for index in range(1, NUM_OPTIONS + 1)]
    answer = names[options.index(truth)]
    return Example(
        instruction=(
            f"Please choose the correct answer to the question: {question}?\n\n{listed}\n\n"
            f"Answer format: {'/'.join(names)}"
        ),
        input="",
        output=f"the correct answer is {answer}",
        answer=answer,
    )
