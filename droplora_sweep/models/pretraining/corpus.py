"""The pretraining corpus: short documents drawn from a seed, of words, facts, sums and programs.

It teaches what the built-in benchmarks build on (the world's facts, sums, Python, picking one of
several options, following an instruction) and none of what they ask for: their question
wordings, verbs, phrases and answer formats occur only as bare words in lists, some of them next to
words of like meaning.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from droplora_sweep.tasks.builtin.generation import NAMES, ON_LISTS, ON_NUMBERS
from droplora_sweep.tasks.builtin.questions import (
    CREATURES,
    FACTS,
    LARGEST,
    PEOPLE,
    QUESTIONS,
    RELATIONS,
    THINGS,
    VERBS,
    options_with,
)
from droplora_sweep.tasks.task import TEMPLATE

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


_WORDS: Final = {"+": "plus", "-": "minus", "*": "times"}
TAUGHT_VERBS: Final = {
    "+": ("adds", "gets", "gains", "takes", "inherits", "catches"),
    "-": ("gives", "eats", "removes", "burns", "tears", "hides"),
    "*": ("times", "multiplies", "grows"),
}
"""The only verbs whose meaning the base model learns."""


def draw_arithmetic_document(rng: Random) -> Document:
    """Some sums of which the results count."""
    document: Document = []
    for index in range(5):
        question, result = _sum(*_draw_sum(rng, rng.randint(0, LARGEST))).rsplit(" ", 1)
        document += [(" " * (index > 0) + question, False), (f" {result}.", True)]
    return document


def draw_arithmetic_instruction(rng: Random) -> tuple[str, str]:
    """A chain as bare words or as a story, answered by its sums."""
    chain = _draw_chain(rng, rng.randint(1, 2))
    start, sums = chain[0][0], ". ".join(_sum(*step) for step in chain)
    if rng.random() < 0.2:
        words = " ".join(f"{_WORDS[symbol]} {operand}" for _, symbol, operand, _ in chain)
        return f"Work out {start} {words}.", sums
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    words = " and then ".join(
        f"{rng.choice(TAUGHT_VERBS[symbol])} {operand}" for _, symbol, operand, _ in chain
    )
    total = rng.choice(("", f". Total: {chain[-1][3]}"))
    question = rng.choice((f"Count the {thing}.", f"How many {thing} are there?"))
    return f"{person} has {start} {thing}. {person} {words}. {question}", sums + total


def _draw_chain(rng: Random, length: int) -> list[tuple[int, str, int, int]]:
    amount, chain = rng.randint(2, 12), []
    for _ in range(length):
        chain.append(_draw_sum(rng, amount))
        amount = chain[-1][3]
    return chain


def _draw_sum(rng: Random, left: int) -> tuple[int, str, int, int]:
    """A sum whose parts all stay within 0 and ``LARGEST``."""
    possible = []
    right = rng.randint(2, 6)
    if left + right <= LARGEST:
        possible.append((left, "+", right, left + right))
    if left - right >= 0:
        possible.append((left, "-", right, left - right))
    factor = rng.randint(2, 3)
    if left * factor <= LARGEST and rng.random() < 0.4:
        possible.append((left, "*", factor, left * factor))
    return rng.choice(possible)


def _sum(left: int, symbol: str, right: int, result: int) -> str:
    return f"{left} {symbol} {right} = {result}"


NUMBER_STATEMENTS: Final = {
    "x + {}": ("add {}", "plus {}", "increase it by {}", "put {} on it", "raise it by {}"),
    "x - {}": ("subtract {}", "minus {}", "decrease it by {}", "take {} off it"),
    "x * {}": ("multiply by {}", "times {}", "grow it {} times", "multiply it with {}"),
    "x // {}": ("divide by {}", "quotient by {}", "cut it into {} parts", "divide it over {}"),
    "x % {}": ("remainder of {}", "modulo {}", "rest after {}", "take it modulo {}"),
    "min(x, {})": ("minimum with {}", "at most {}", "limit it to {}", "smaller of it and {}"),
    "max(x, {})": ("maximum with {}", "at least {}", "keep it above {}", "larger of it and {}"),
}
"""Expressions of a number with their wordings."""

LIST_STATEMENTS: Final = {
    "sum(x)": ("sum", "add all items", "sum of the items"),
    "len(x)": ("length", "number of items", "how long it is"),
    "max(x)": ("maximum", "largest item", "biggest one"),
    "min(x)": ("minimum", "smallest item", "least one"),
    "x[0]": ("first item", "item at the start", "begin of it"),
    "x[-1]": ("last item", "item at the end", "final one"),
}
"""Expressions of a list with their wordings."""


def draw_program_document(rng: Random) -> Document:
    """A function under a comment that names it and says what it does."""
    name = rng.choice(NAMES)
    words, program = _draw_program(rng, name)
    return [(f"# {name}: {', '.join(words)}\n", False), (program, True)]


def draw_program_instruction(rng: Random) -> tuple[str, str]:
    """A function asked for by its name and plain words."""
    name = rng.choice(NAMES)
    words, program = _draw_program(rng, name)
    wanted = rng.choice((f"Define {name} to", f"Code for {name} which"))
    return f"{wanted} {' and then '.join(words)}.", program


def _draw_program(rng: Random, name: str) -> tuple[list[str], str]:
    """The words for each of one to three statements, and their function."""
    steps = rng.choices(tuple(NUMBER_STATEMENTS.items()), k=rng.randint(1, 2))
    if rng.random() < 0.5:
        steps.insert(0, rng.choice(tuple(LIST_STATEMENTS.items())))
    operands = [rng.randint(2, 6) for _ in steps]
    words = [
        rng.choice(wordings).format(operand)
        for (_, wordings), operand in zip(steps, operands, strict=True)
    ]
    values = [value.format(operand) for (value, _), operand in zip(steps, operands, strict=True)]
    body = "".join(f"    x = {value}\n" for value in values[:-1])
    return words, f"def {name}(x):\n{body}    return {values[-1]}"


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
