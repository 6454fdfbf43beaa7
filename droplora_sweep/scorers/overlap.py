"""Scorers of free text by its overlap with a reference: SQuAD's, BLEU, chrF and ROUGE.

A right answer may be several: a JSON list of texts, ``["Paris", "the city of Paris"]``. The best
match counts (BLEU and chrF take all of them together, as sacrebleu does).

Every score is of one response, so that trials can be compared example by example. The mean of
sentence BLEU over a benchmark is not corpus BLEU, which is reported beside it (see
``corpus_metrics``).
"""

from __future__ import annotations

import functools
import json
import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .scorer import Answer, ProtocolName, Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_ROUGE_TOKENS: Final = re.compile(r"[a-z0-9]+")
_PUNCTUATION: Final = frozenset(string.punctuation)
_ROUNDING: Final = 1e-9
"""Scores that are nearer to 1 than this are 1: sacrebleu's round at 1e-14."""


def references(gold: str) -> tuple[str, ...]:
    """Return the right answers: the texts of a JSON list, else the text itself.

    >>> references('["Paris", "the city of Paris"]'), references("[1] Paris")
    (('Paris', 'the city of Paris'), ('[1] Paris',))
    """
    if gold.lstrip().startswith("["):
        try:
            given = json.loads(gold)
        except ValueError:
            return (gold,)
        if given and all(isinstance(one, str) and one.strip() for one in given):
            return tuple(given)
    return (gold,)


def normalized(text: str) -> str:
    """Return a text in lower case without punctuation, articles and spare white space.

    SQuAD's ``normalize_answer`` (arXiv 1606.05250, ``evaluate-v1.1.py``).

    >>> normalized(" The  Eiffel Tower. ")
    'eiffel tower'
    """
    plain = "".join(one for one in text.lower() if one not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def token_f1(response: str, reference: str) -> float:
    """Return SQuAD's F1 of the tokens of two texts, in [0, 1].

    Of ``evaluate-v2.0.py``: where one of them has no token left, 1 if neither has any, else 0.

    >>> token_f1("in the city of Paris", "Paris")
    0.4
    """
    said, right = normalized(response).split(), normalized(reference).split()
    if not said or not right:
        return float(said == right)
    num_same = (Counter(said) & Counter(right)).total()
    return 2 * num_same / (len(said) + len(right))


@dataclass(frozen=True, kw_only=True)
class OverlapScorer(Scorer):
    """Scorer of the whole response, stripped, by its likeness to the references."""

    question = "Describe the sea in one sentence."

    def likeness(self, response: str, golds: Sequence[str]) -> float:
        """Return the score, in [0, 1]."""
        raise NotImplementedError

    def stated(self, gold: str, protocol: ProtocolName) -> str:
        """Return the first reference."""
        del protocol
        return references(gold)[0]

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Compare the response; it is right where the likeness is full."""
        del protocol
        text = response.strip()
        if not text:
            return Answer(None, correct=False)
        score = self.likeness(text, references(gold))
        if score > 1 - _ROUNDING:
            score = 1.0
        return Answer(text, correct=score == 1, credit=score)


@dataclass(frozen=True, kw_only=True)
class F1Scorer(OverlapScorer):
    """Scorer by SQuAD's token F1."""

    def likeness(self, response: str, golds: Sequence[str]) -> float:
        """Return the best F1."""
        return max(token_f1(response, gold) for gold in golds)


@dataclass(frozen=True, kw_only=True)
class ExactMatchScorer(OverlapScorer):
    """Scorer by SQuAD's exact match: equal but for case, punctuation, articles and white space."""

    def likeness(self, response: str, golds: Sequence[str]) -> float:
        """Return 1 where one is equal, else 0."""
        return float(any(normalized(response) == normalized(gold) for gold in golds))


@dataclass(frozen=True, kw_only=True)
class BleuScorer(OverlapScorer):
    """Scorer by sacrebleu's sentence BLEU (4-grams, 13a tokens, exponential smoothing)."""

    package = "sacrebleu"
    reports = ("bleu",)

    def likeness(self, response: str, golds: Sequence[str]) -> float:
        """Return a hundredth of sentence BLEU."""
        return float(_bleu().sentence_score(response, list(golds)).score) / 100


@dataclass(frozen=True, kw_only=True)
class ChrfScorer(OverlapScorer):
    """Scorer by sacrebleu's sentence chrF (character 6-grams, beta 2)."""

    package = "sacrebleu"
    reports = ("chrf",)

    def likeness(self, response: str, golds: Sequence[str]) -> float:
        """Return a hundredth of sentence chrF."""
        return float(_chrf().sentence_score(response, list(golds)).score) / 100


@dataclass(frozen=True, kw_only=True)
class RougeScorer(OverlapScorer):
    """Scorer by the F-measure of ``rouge_score``, without stemming, of the best reference.

    Its tokens are runs of a to z and 0 to 9: a reference in another script has none.
    """

    package = "rouge_score"
    kind: str = "rougeL"

    def gold_problem(self, gold: str) -> str | None:
        """Refuse what has too few tokens to be compared."""
        fewest = 2 if self.kind == "rouge2" else 1
        if max(len(_ROUGE_TOKENS.findall(one.lower())) for one in references(gold)) >= fewest:
            return None
        words = "two words" if fewest > 1 else "a word"
        return f"must be text with {words} of a to z and 0 to 9 for {self.kind}, got {gold[:40]!r}"

    def likeness(self, response: str, golds: Sequence[str]) -> float:
        """Return the best F-measure."""
        scorer = _rouge(self.kind)
        return max(float(scorer.score(gold, response)[self.kind].fmeasure) for gold in golds)


@functools.cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=True)


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


@functools.cache
def _rouge(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer as Library

    return Library([kind])
