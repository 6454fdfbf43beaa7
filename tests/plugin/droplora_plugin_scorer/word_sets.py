"""Answers that are sets of words, scored by F1, and a benchmark that has such answers."""

import random
from dataclasses import dataclass

from droplora_sweep.scorers import Answer, Scorer
from droplora_sweep.tasks import BenchmarkEntry, Example

COLOURS = ("red", "blue", "green", "grey", "brown", "white", "black", "yellow")
CREATURES = ("fox", "owl", "bear", "frog", "hare", "crow", "mole", "wolf")


@dataclass(frozen=True, kw_only=True)
class WordSetScorer(Scorer):
    """F1 of the response's words and the answer's, in any order."""

    question = "Which of these are colours: red owl blue?"

    def gold_problem(self, gold):
        words = gold.split()
        return None if len(set(words)) == len(words) else f"must name each word once, got {gold!r}"

    def stated(self, gold, protocol):
        return gold

    def read(self, response, gold, protocol):
        said, right = set(response.split()), set(gold.split())
        both = len(said & right)
        f1 = 2 * both / (len(said) + len(right))
        return Answer(" ".join(sorted(said)) or None, correct=said == right, credit=f1)


def colours():
    return BenchmarkEntry(scoring="word_set", load=load, max_new_tokens=12)


def load(folder):
    """Draw questions; their answers are the colours among four words."""
    drawn = random.Random(0)
    questions = {}
    while len(questions) < 60:
        words = drawn.sample(COLOURS, 2) + drawn.sample(CREATURES, 2)
        drawn.shuffle(words)
        answer = " ".join(word for word in words if word in COLOURS)
        asked = f"Which of these are colours: {' '.join(words)}?"
        questions[asked] = Example(asked, "", answer, answer)
    examples = list(questions.values())
    return {"train": examples[:40], "validation": examples[40:50], "test": examples[50:]}
