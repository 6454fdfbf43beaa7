"""History of a search at its start: the ledger's records in the search's terms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import TRAIN_SECONDS, search_value
from droplora_sweep.spec.search import objective_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.records.trial import (
        PastTrial,
        PlannedTrial,
        QueuedClone,
        SweepRecord,
        TrialRecord,
    )
    from droplora_sweep.spec import Scalar, TrialSpec

    from .rules import Outcomes

    Reported: TypeAlias = float | Sequence[float] | None


@dataclass(frozen=True, kw_only=True)
class TrialHistory:
    """A trial as sampler and scheduler see it.

    Attributes:
        number: Its number in the study.
        name: Its id, or that of the trial of another sweep that it is known from.
        drawn: Searched values as drawn.
        state: Its state; FAILED also where its score is not finite.
        scores: What the search maximises (see ``search_value``) at each evaluation, by its
            number; finite.
        outcomes: Each example's score by benchmark, by evaluation, where they are needed.
        values: Its value of each of several objectives; None with one, and where one is missing.
        seconds: Seconds of training that each evaluation took since the one before.
        is_prior: True for a trial of an earlier sweep, which informs the sampler alone.
    """

    number: int
    name: str
    drawn: Mapping[str, Scalar]
    state: TrialState
    scores: Mapping[int, float] = field(default_factory=dict)
    outcomes: Mapping[int, Outcomes] = field(default_factory=dict)
    values: tuple[float, ...] | None = None
    seconds: Mapping[int, float] = field(default_factory=dict)
    is_prior: bool = False

    @property
    def score(self) -> float | None:
        """The score it ended with; None while it runs and where it has none."""
        if self.state in (TrialState.RUNNING, TrialState.FAILED) or not self.scores:
            return None
        return self.scores[max(self.scores)]

    @property
    def reported(self) -> Reported:
        """Report to a study once it is complete: its score, or all its values."""
        return self.score if self.values is None else self.values

    @property
    def decided_scores(self) -> dict[int, float]:
        """The scores that the scheduler has decided on.

        The last evaluation of a running trial is left out: it may not have been decided on, and
        is delivered once more.
        """
        last = max(self.scores, default=0) if self.state is TrialState.RUNNING else None
        return {number: score for number, score in self.scores.items() if number != last}


@dataclass(frozen=True, kw_only=True)
class SearchHistory:
    """Everything a search starts from; empty for a new sweep.

    Attributes:
        trials: Every known trial, by number.
        unfinished: Those that are resumed, in the order in which they are.
        ended: Report to the study of every finished trial of this sweep, by fingerprint: its score,
            or its value of each objective; None where it has none.
        specs: The specs that have been run or are running here.
        clones: Trials made by hand that have not started, in the order in which they were made.
        cloned: Fingerprints of those that have; they come on top of the planned trials.
        points: Raw values of settings to run after the baselines, unless they were.
    """

    trials: Mapping[int, TrialHistory] = field(default_factory=dict)
    unfinished: tuple[TrialRecord, ...] = ()
    ended: Mapping[str, Reported] = field(default_factory=dict)
    specs: tuple[TrialSpec, ...] = ()
    clones: tuple[PlannedTrial, ...] = ()
    cloned: frozenset[str] = frozenset()
    points: tuple[Mapping[str, Scalar], ...] = ()


def search_history(
    record: SweepRecord,
    metric: str,
    examples: Callable[[str], Mapping[str, Mapping[str, float | None]] | None] | None = None,
) -> SearchHistory:
    """Return what a ledger says of trials, for the search to resume from.

    Args:
        record: The sweep; one without trials gives an empty history. Of its trials, those of the
            search stage are known.
        metric: The search's metric.
        examples: Gives a finished trial's score on each example, by benchmark and example id, for
            a sampler that learns from them; None for the others.
    """
    past = {each.number: _of_past(each) for each in record.past}
    trials = record.search_trials
    objectives = record.spec["search"].get("objectives", ())
    own = {trial.number: trial_history(trial, metric, objectives) for trial in trials}
    if examples is not None:
        own = {number: _with_outcomes(one, examples) for number, one in own.items()}
    queued = {clone.number: _of_clone(clone) for clone in record.queued_clones}
    return SearchHistory(
        trials={**past, **own, **queued},
        unfinished=tuple(trial for trial in trials if not trial.is_finished),
        ended={
            trial.fingerprint: _reported_again(own[trial.number])
            for trial in trials
            if trial.is_finished
        },
        specs=tuple(trial.trial_spec for trial in trials),
        clones=record.queued_clones,
        points=tuple(point.values for point in record.points),
        cloned=frozenset(trial.fingerprint for trial in trials if trial.clone_of is not None),
    )


def trial_history(trial: TrialRecord, metric: str, objectives: Sequence[str] = ()) -> TrialHistory:
    """Return one trial of a ledger; without a finite last score it counts as failed.

    So does one that the sampler is to learn nothing from, one without a finite value of every
    objective, where there are several, and one that was stopped then (see ``search.study``).
    """
    scores = {each.number: search_value(metric, each.metrics) for each in trial.evaluations}
    finite = {number: score for number, score in scores.items() if math.isfinite(score)}
    seconds = {
        each.number: each.metrics[TRAIN_SECONDS]
        for each in trial.evaluations
        if TRAIN_SECONDS in each.metrics
    }
    values = None
    if objectives:
        values = objective_values(objectives, trial.metrics, math.fsum(seconds.values()))
    state = trial.state
    has_score = max(scores, default=0) in finite and trial.is_comparable
    lacks_objectives = state is TrialState.STOPPED or values is None
    if trial.is_finished and (not has_score or (objectives and lacks_objectives)):
        state = TrialState.FAILED
    return TrialHistory(
        number=trial.number,
        name=trial.trial_id,
        drawn=trial.drawn,
        state=state,
        scores=finite,
        outcomes={each.number: each.outcomes for each in trial.evaluations if each.outcomes},
        values=values if state is TrialState.COMPLETE else None,
        seconds=seconds,
    )


def _with_outcomes(
    trial: TrialHistory,
    examples: Callable[[str], Mapping[str, Mapping[str, float | None]] | None],
) -> TrialHistory:
    """The trial with the scores of its last evaluation's examples, as its group reported them."""
    is_scored = trial.state in (TrialState.COMPLETE, TrialState.STOPPED) and trial.scores
    found = examples(trial.name) if is_scored else None
    if found is None:
        return trial
    outcomes = {name: [scores[one] for one in sorted(scores)] for name, scores in found.items()}
    return replace(trial, outcomes={**trial.outcomes, max(trial.scores): outcomes})


def _of_past(past: PastTrial) -> TrialHistory:
    return TrialHistory(
        number=past.number,
        name=past.origin,
        drawn=past.drawn,
        state=past.state,
        scores=past.scores,
        is_prior=past.is_prior,
    )


def _of_clone(clone: QueuedClone) -> TrialHistory:
    return TrialHistory(
        number=clone.number, name=clone.trial_id, drawn=clone.drawn, state=TrialState.RUNNING
    )


def _reported_again(trial: TrialHistory) -> Reported:
    """Return what to report to the study of a draw that repeats the trial."""
    return trial.reported if trial.state is TrialState.COMPLETE else None
