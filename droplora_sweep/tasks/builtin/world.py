"""The small world the base model knows and the multiple-choice benchmark asks about.

Its facts are fixed: which creature has which value of each relation never depends on a sweep's
seed, since the pretraining corpus teaches exactly these facts.
"""

from __future__ import annotations

import random
from typing import Final

CREATURES: Final = (
    "fox",
    "owl",
    "bear",
    "frog",
    "hare",
    "crow",
    "mole",
    "wolf",
    "deer",
    "goat",
    "swan",
    "toad",
    "lynx",
    "crab",
    "otter",
    "badger",
)

RELATIONS: Final[dict[str, tuple[str, ...]]] = {
    "food": ("plums", "nuts", "grass", "fish", "seeds", "roots", "berries", "leaves"),
    "home": ("cave", "lake", "barn", "hill", "field", "river", "marsh", "forest"),
    "colour": ("red", "blue", "green", "grey", "brown", "white", "black", "yellow"),
    "instrument": ("drum", "flute", "harp", "horn", "bell", "fiddle", "lute", "piano"),
    "game": ("chess", "cards", "darts", "tag", "marbles", "dice", "bowls", "hopscotch"),
    "job": ("baker", "tailor", "miller", "potter", "smith", "sailor", "weaver", "painter"),
}
"""Every relation of a creature with the values it can have."""


def _assign_values() -> dict[str, dict[str, str]]:
    """Deals each relation's values out to the creatures, every value equally often."""
    rng = random.Random("droplora-sweep world")
    facts: dict[str, dict[str, str]] = {creature: {} for creature in CREATURES}
    for relation, values in RELATIONS.items():
        dealt = [values[index % len(values)] for index in range(len(CREATURES))]
        rng.shuffle(dealt)
        for creature, value in zip(CREATURES, dealt, strict=True):
            facts[creature][relation] = value
    return facts


FACTS: Final = _assign_values()
"""``FACTS[creature][relation]`` is the value, e.g. ``FACTS["fox"]["food"]``."""

NUM_OPTIONS: Final = 4


def options_with(relation: str, value: str) -> tuple[str, ...]:
    """The half of a relation's values that has this one, always in the same order.

    A model of a million parameters can learn where a value stands in a list it has met; finding
    any value in any list takes far more training.
    """
    values = RELATIONS[relation]
    first = values.index(value) // NUM_OPTIONS * NUM_OPTIONS
    return values[first : first + NUM_OPTIONS]
