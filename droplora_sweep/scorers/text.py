"""Responses that are compared as text, and those that a judge rates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .scorer import Answer, ProtocolName, Scorer


@dataclass(frozen=True, kw_only=True)
class ExactScorer(Scorer):
    """Scorer of the whole response, stripped."""

    compares_text = True

    def stated(self, gold: str, protocol: ProtocolName) -> str:
        """Return the answer."""
        del protocol
        return gold

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Read the response without its outer white space."""
        del protocol
        return Answer(response.strip() or None, correct=response.strip() == gold)


@dataclass(frozen=True, kw_only=True)
class RegexScorer(Scorer):
    """Scorer of the first match of ``pattern``, or of its first group if it has one."""

    needs = ("pattern",)
    compares_text = True

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Search the response for the pattern."""
        del protocol
        match = re.search(self.pattern or "", response)
        if match is None:
            return Answer(None, correct=False)
        prediction = match.group(1) if match.re.groups else match.group()
        return Answer(prediction, correct=prediction == gold)


@dataclass(frozen=True, kw_only=True)
class JudgeScorer(Scorer):
    """Scorer that leaves responses to the judge of ``evaluation.judge``."""

    is_rated = True
