"""The answer: which pruning rate to use, per benchmark, and how sure that is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from droplora_sweep.analysis.confirmed import ConfirmedVerdict
from droplora_sweep.analysis.text import (
    confirmed_text,
    decision_text,
    explored_text,
    nothing_text,
    verdict_text,
)
from droplora_sweep.analysis.winners import first_run
from droplora_sweep.present.values import format_value

if TYPE_CHECKING:
    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.estimate import Estimate
    from droplora_sweep.analysis.search_decision import Decision, Verdict

    from .facts import Facts


RATE = "adapter.pruning_rate"
FINGERPRINT = re.compile(r"-[0-9a-f]{8}")


class Certainty(StrEnum):
    """Certainty of an answer; readers see each value as it is."""

    SETTLED = "confirmed"
    UNLIKELY = "gain unlikely, not ruled out"
    OPEN = "still open"
    HINT = "a hint, not confirmed"
    NOTHING = "nothing to decide"
    NONE = "no answer yet"

    @property
    def mark(self) -> str:
        """A sign for it that needs no colour."""
        marks = {
            "SETTLED": "\u2714",
            "UNLIKELY": "~",
            "OPEN": "\u2248",
            "HINT": "?",
            "NOTHING": "\u2205",
        }
        return marks.get(self.name, "\u2013")

    @property
    def short(self) -> str:
        """The same in at most three words, for a narrow table."""
        return self.partition(",")[0]


@dataclass(frozen=True)
class Answer:
    """Setting to use on one benchmark, or for the mean.

    Attributes:
        subject: Its name.
        certainty: That of the answer.
        pruning_rate: The rate to use; None without an answer.
        trial: The trial whose settings go with it; "" without an answer.
        settings: Values that the search chose for that trial beside the rate, in words.
        score: Of that rate, with its interval where there is one.
        gain: Of the rate (of the best other one, where it is 0) over p = 0.
        gain_of: The rate whose gain that is.
        own_gain: Of that rate over p = 0 with its own other settings, where that was trained.
        probability_best: That the rate is the best of those confirmed, with any of its settings.
        num_seeds: Seeds that it rests on; 1 for a hint.
        verdict: The comparison of the rates with p = 0, in few words.
        explored: The search's verdict on its best rate; None where it was confirmed.
        adapter: The trial whose adapter `export` writes; "" without one.
        split: The examples that the score is from.
        sentence: The whole decision in plain words.
    """

    subject: str
    certainty: Certainty
    pruning_rate: float | None = None
    trial: str = ""
    settings: str = ""
    score: Estimate | float | None = None
    gain: Estimate | None = None
    gain_of: float | None = None
    own_gain: Estimate | None = None
    probability_best: float | None = None
    num_seeds: int = 1
    verdict: str = ""
    explored: Verdict | None = None
    adapter: str = ""
    split: str = "validation"
    sentence: str = ""

    @property
    def short_trial(self) -> str:
        """The trial without its fingerprint, ``t0007`` or ``t0007@p=0``; commands take that."""
        return FINGERPRINT.sub("", self.trial)

    @property
    def least_gain(self) -> Estimate | None:
        """The smaller of its gains: over the best that p = 0 has, and over its own settings."""
        known = [one for one in (self.gain, self.own_gain) if one is not None]
        return min(known, key=lambda one: one.value, default=None)


CERTAINTIES = {
    ConfirmedVerdict.BETTER: Certainty.SETTLED,
    ConfirmedVerdict.WORSE: Certainty.SETTLED,
    ConfirmedVerdict.NO_GAIN: Certainty.SETTLED,
    ConfirmedVerdict.DROPPED: Certainty.UNLIKELY,
}
"""Certainty of a confirmed answer; others are open."""


def answers(facts: Facts) -> tuple[Answer, ...]:
    """One per subject: what was confirmed, else what the search hints at."""
    return tuple(_answer(facts, subject) for subject in facts.subjects)


def _answer(facts: Facts, subject: str) -> Answer:
    confirmed = facts.confirmation(subject)
    if confirmed is not None:
        return _withheld(confirmed) if confirmed.is_withheld else _confirmed(facts, confirmed)
    decision = facts.decision(subject)
    if decision is not None and decision.is_withheld:
        return _withheld(decision)
    if decision is None or decision.best is None:
        verdict = facts.undecided if decision is None else decision.verdict.value
        return Answer(subject, Certainty.NONE, verdict=verdict)
    return _hinted(facts, decision)


def _withheld(decision: ConfirmedDecision | Decision) -> Answer:
    return Answer(
        decision.benchmark,
        Certainty.NOTHING,
        verdict="; ".join(decision.reasons),
        sentence=nothing_text(decision.benchmark, decision.reasons),
    )


def _confirmed(facts: Facts, decision: ConfirmedDecision) -> Answer:
    used = decision.used
    assert used is not None, "a decision with rates recommends one"
    others = [one for one in decision.rates if one.difference is not None]
    shown = used if used in others else max(others, key=lambda one: one.mean.value, default=None)
    difference = None if shown is None else shown.difference
    own = None if shown is None else shown.own_difference
    return Answer(
        subject=decision.benchmark,
        certainty=CERTAINTIES.get(decision.verdict, Certainty.OPEN),
        pruning_rate=used.arm.pruning_rate,
        trial=used.arm.name,
        settings=_settings(facts, used.arm.name),
        score=used.mean,
        gain=None if difference is None else difference.estimate,
        gain_of=None if shown is None else shown.arm.pruning_rate,
        own_gain=None if own is None else own.estimate,
        probability_best=sum(
            one.probability_best
            for one in (*decision.rates, *decision.controls)
            if one.arm.pruning_rate == used.arm.pruning_rate
        ),
        num_seeds=decision.num_seeds if difference is None else difference.num_seeds,
        verdict=verdict_text(decision),
        adapter=first_run(used.arm, facts.record.confirm_trials) or "",
        split=facts.record.confirmed_on,
        sentence=confirmed_text(decision),
    )


def _hinted(facts: Facts, decision: Decision) -> Answer:
    used, comparison = decision.used, decision.paired_test
    assert used is not None, "asked only where a trial has a score"
    pruned = decision.pruned
    return Answer(
        subject=decision.benchmark,
        certainty=Certainty.HINT,
        pruning_rate=used.pruning_rate,
        trial=used.trial_id,
        settings=_settings(facts, used.trial_id),
        score=used.estimate or used.score,
        gain=None if comparison is None else comparison.difference,
        gain_of=None if pruned is None else pruned.pruning_rate,
        verdict=explored_text(decision),
        explored=decision.verdict,
        adapter=used.trial_id,
        sentence=decision_text(decision),
    )


def _settings(facts: Facts, name: str) -> str:
    """Return what was searched beside the rate; an arm is named after the trial it repeats."""
    trial_id = name.partition("@")[0]
    found = next((one for one in facts.searched if one.trial_id == trial_id), None)
    if found is None:
        return ""
    chosen = {path: value for path, value in found.params.items() if path != RATE}
    return ", ".join(
        f"{path.rpartition('.')[2].replace('_', ' ')} {format_value(value)}"
        for path, value in chosen.items()
    )
