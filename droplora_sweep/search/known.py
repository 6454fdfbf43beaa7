"""What a continued or forked sweep knows of its trials before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar, TrialSpec

    from .rules import Outcomes
    from .suggestion import Suggestion

    Told: TypeAlias = float | Sequence[float] | None

Ending = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True)
class KnownTrial:
    """A trial as sampler and scheduler see it.

    Attributes:
        number: Its number in the study.
        name: Its id, or that of the trial of another sweep that it is known from.
        drawn: Searched values as drawn.
        ending: None while it runs; ``failed`` also where its score is not finite.
        scores: The search's metric at each evaluation, by its number; finite.
        outcomes: Each example's score by benchmark, by evaluation, where the ledger has them.
        values: Its value of each of several objectives; None with one, and where one is missing.
        seconds: Seconds of training that each evaluation took since the one before.
        is_prior: Whether it is of an earlier sweep and informs the sampler alone.
    """

    number: int
    name: str
    drawn: Mapping[str, Scalar]
    ending: Ending | None
    scores: Mapping[int, float]
    outcomes: Mapping[int, Outcomes] = field(default_factory=dict)
    values: tuple[float, ...] | None = None
    seconds: Mapping[int, float] = field(default_factory=dict)
    is_prior: bool = False

    @property
    def score(self) -> float | None:
        """The score it ended with; None while it runs and where it has none."""
        if self.ending in (None, "failed") or not self.scores:
            return None
        return self.scores[max(self.scores)]

    @property
    def told(self) -> Told:
        """What a study is told of it once it is complete: its score, or all its values."""
        return self.score if self.values is None else self.values

    @property
    def decided_scores(self) -> dict[int, float]:
        """What the scheduler has decided on.

        The last evaluation of a running trial is left out: it may not have been decided on, and
        is delivered once more.
        """
        last = max(self.scores, default=0) if self.ending is None else None
        return {number: score for number, score in self.scores.items() if number != last}


@dataclass(frozen=True)
class LastReport:
    """The last evaluation of a running trial that is in the ledger.

    Attributes:
        evaluation: Its number, from 1.
        num_evaluations: Evaluations of a trial that runs to its end.
        step: Optimiser steps taken.
        metrics: By name; may hold NaN.
        outcomes: Each example's score by benchmark, where the stopping rule asks for them.
    """

    evaluation: int
    num_evaluations: int
    step: int
    metrics: Mapping[str, float]
    outcomes: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenTrial:
    """A trial that was running when its driver ended, to be taken up again.

    Attributes:
        suggestion: The trial, under the id and number it has.
        last_report: None where it gave none.
    """

    suggestion: Suggestion
    last_report: LastReport | None


@dataclass(frozen=True)
class Known:
    """Everything a search starts from; empty for a new sweep.

    Attributes:
        trials: Every known trial, by number.
        open: Those that go on, in the order in which they do.
        ended: What the study was told of every finished trial of this sweep, by fingerprint: its
            score, or its value of each objective; None where it has none.
        specs: What has been run or is running here.
        clones: Trials made by hand that have not started, in the order in which they were made.
        cloned: Fingerprints of those that have; they come on top of the planned trials.
        points: Raw values of settings to run after the baselines, unless they were.
    """

    trials: Mapping[int, KnownTrial] = field(default_factory=dict)
    open: tuple[OpenTrial, ...] = ()
    ended: Mapping[str, Told] = field(default_factory=dict)
    specs: tuple[TrialSpec, ...] = ()
    clones: tuple[Suggestion, ...] = ()
    cloned: frozenset[str] = frozenset()
    points: tuple[Mapping[str, Scalar], ...] = ()
