"""The built-in questions and word problems, about a small world of their own.

Its facts are fixed: which creature has which value of each relation never depends on a sweep's
seed, since the pretraining corpus teaches exactly these facts.

Word problems: the base model knows the sums; which verb adds, takes away or multiplies is what
fine-tuning teaches, since no verb occurs with its meaning in the pretraining corpus.

Choice questions: the base model knows the facts, and where each value stands in its list of
options; no question of the pretraining corpus is worded like these, and none was answered in this
form. Who asks whom does not matter.

Open questions: the same without options, so that the answer is the value itself.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from droplora_sweep.tasks.task import Example

if TYPE_CHECKING:
    from random import Random


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
    """Deal each relation's values out to the creatures, every value equally often."""
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


PEOPLE: Final = ("Ann", "Tom", "Eva", "Sam", "Mia", "Leo", "Ida", "Max", "Zoe", "Ben", "Lea", "Kai")
THINGS: Final = ("apples", "pens", "coins", "stamps", "shells", "cups", "books", "kites")
LARGEST: Final = 30
"""Largest amount; the base model knows sums from 0 to this."""

VERBS: Final[dict[str, tuple[str, ...]]] = {
    "+": ("finds", "buys", "wins", "earns", "gathers", "collects"),
    "-": ("loses", "sells", "breaks", "spends", "drops", "donates"),
    "*": ("breeds", "copies"),
}
"""The verbs of each operation."""


def draw_word_problem(rng: Random) -> Example:
    """Two steps from a start amount, e.g. ``7 + 5 = 12. 12 - 3 = 9. The answer is: 9``."""
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    start = rng.randint(3, 12)
    first, amount_after_first, first_sum = _draw_step(rng, start)
    second, amount, second_sum = _draw_step(rng, amount_after_first)
    return Example(
        instruction=(
            f"{person} has {start} {thing}. {person} {first} and then {second}. "
            f"How many {thing} does {person} have now?"
        ),
        input="",
        output=f"{first_sum}. {second_sum}. The answer is: {amount}",
        answer=str(amount),
    )


def _draw_step(rng: Random, amount: int) -> tuple[str, int, str]:
    """The step's words, the amount after it and its sum, e.g. ``("finds 5", 12, "7 + 5 = 12")``."""
    symbol = rng.choices(tuple(VERBS), weights=[len(verbs) for verbs in VERBS.values()])[0]
    operand = rng.randint(2, 6)
    if symbol == "-" and operand > amount:
        symbol = "+"
    if symbol == "*":
        operand = rng.randint(2, 3)
    results = {"+": amount + operand, "-": amount - operand, "*": amount * operand}
    if results[symbol] > LARGEST:
        symbol = "-"
        results["-"] = amount - operand
    verb = rng.choice(VERBS[symbol])
    return f"{verb} {operand}", results[symbol], f"{amount} {symbol} {operand} = {results[symbol]}"


QUESTIONS: Final[dict[str, tuple[str, ...]]] = {
    "food": ("what would the {} order for supper", "which snack makes the {} happy"),
    "home": ("where would you visit the {} at night", "which address has the {}"),
    "game": ("how does the {} spend a rainy evening", "at what would the {} win a prize"),
}
"""The wordings that ask for a relation; a trial of seconds can learn those of three."""


def draw_choice(rng: Random) -> Example:
    """One question; its options are the half of the relation's values which has the truth."""
    question, relation, truth = _draw_question(rng)
    options = options_with(relation, truth)
    listed = " ".join(f"Answer{index}: {option}" for index, option in enumerate(options, 1))
    names = [f"answer{index}" for index in range(1, NUM_OPTIONS + 1)]
    answer = names[options.index(truth)]
    return Example(
        instruction=(
            f"Please choose the correct answer to the question: {question}\n\n{listed}\n\n"
            f"Answer format: {'/'.join(names)}"
        ),
        input="",
        output=f"the correct answer is {answer}",
        answer=answer,
    )


def draw_open_question(rng: Random) -> Example:
    """One question without options; the response is the value alone, e.g. ``dice``."""
    question, _, truth = _draw_question(rng)
    return Example(instruction=question, input="", output=truth, answer=truth)


def answer_wrongly(example: Example, rng: Random) -> Example:
    """Return an open question with another value of the same relation as its answer."""
    [values] = [values for values in RELATIONS.values() if example.answer in values]
    wrong = rng.choice([value for value in values if value != example.answer])
    return replace(example, output=wrong, answer=wrong)


def _draw_question(rng: Random) -> tuple[str, str, str]:
    """A question as someone asks it of others, its relation, and the true value."""
    creature, relation = rng.choice(CREATURES), rng.choice(tuple(QUESTIONS))
    asking, *asked = rng.sample(PEOPLE, 3)
    question = rng.choice(QUESTIONS[relation]).format(creature)
    text = f"{asking} asks {' and '.join(asked)} {question}?"
    return text, relation, FACTS[creature][relation]
