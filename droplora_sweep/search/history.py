"""History of a search at its start: the ledger's records in the search's terms."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from droplora_sweep.ledger.reader import recorded_trial
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.metric_names import TRAIN_SECONDS
from droplora_sweep.spec.search import objective_values

from .proposal import ProposedTrial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar

    from .rules import Outcomes

    ReportedTrial: TypeAlias = float | Sequence[float] | None
    from collections.abc import Sequence

    from droplora_sweep.records.trial import PastTrial, QueuedClone, SweepRecord, TrialRecord


Ending = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True)
class TrialHistory:
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
    def told(self) -> ReportedTrial:
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
class UnfinishedTrial:
    """A trial that was running when its driver ended, to be resumed.

    Attributes:
        proposal: The trial, under the id and number it has.
        last_report: None where it gave none.
    """

    proposal: ProposedTrial
    last_report: LastReport | None


@dataclass(frozen=True)
class SearchHistory:
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

    trials: Mapping[int, TrialHistory] = field(default_factory=dict)
    open: tuple[UnfinishedTrial, ...] = ()
    ended: Mapping[str, ReportedTrial] = field(default_factory=dict)
    specs: tuple[TrialSpec, ...] = ()
    clones: tuple[ProposedTrial, ...] = ()
    cloned: frozenset[str] = frozenset()
    points: tuple[Mapping[str, Scalar], ...] = ()


ENDINGS: Mapping[TrialState, Ending | None] = {
    TrialState.RUNNING: None,
    TrialState.COMPLETE: "complete",
    TrialState.STOPPED: "stopped",
    TrialState.FAILED: "failed",
}


def search_history(record: SweepRecord, metric: str) -> SearchHistory:
    """Everything a ledger says of trials, for the search to go on from.

    Args:
        record: The sweep; one without trials gives an empty history. Of its trials, those of the
            search stage are known.
        metric: What the search maximises.
    """
    past = {each.number: _from_past(each) for each in record.past}
    trials = record.search_trials
    objectives = record.spec["search"].get("objectives", ())
    own = {trial.number: trial_history(trial, metric, objectives) for trial in trials}
    finished = [trial for trial in trials if trial.is_finished]
    queued = {clone.number: _from_clone(clone) for clone in record.queued_clones}
    return SearchHistory(
        trials={**past, **own, **queued},
        open=tuple(open_trial(trial) for trial in trials if not trial.is_finished),
        ended={trial.fingerprint: _reported_again(own[trial.number]) for trial in finished},
        specs=tuple(recorded_trial(trial) for trial in trials),
        clones=tuple(queued_proposal(clone) for clone in record.queued_clones),
        points=tuple(point.values for point in record.points),
        cloned=frozenset(trial.fingerprint for trial in trials if trial.clone_of is not None),
    )


def trial_history(trial: TrialRecord, metric: str, objectives: Sequence[str] = ()) -> TrialHistory:
    """One trial of a ledger; without a finite last score it counts as failed.

    So does one without a finite value of every objective, where there are several, and one that was
    stopped then (see ``search.study``).
    """
    scores = {each.evaluation: each.metrics.get(metric, math.nan) for each in trial.reports}
    finite = {number: score for number, score in scores.items() if math.isfinite(score)}
    ending = ENDINGS[trial.state]
    if ending is not None and max(scores, default=0) not in finite:
        ending = "failed"
    if ending is not None and not trial.is_comparable:
        # The sampler is to learn nothing from it.
        ending = "failed"
    outcomes = {each.evaluation: each.outcomes for each in trial.reports if each.outcomes}
    seconds = {
        each.evaluation: each.metrics[TRAIN_SECONDS]
        for each in trial.reports
        if TRAIN_SECONDS in each.metrics
    }
    values = objective_values(objectives, trial.metrics, math.fsum(seconds.values()))
    if objectives and (ending == "stopped" or (ending == "complete" and values is None)):
        ending = "failed"
    return TrialHistory(
        trial.number,
        trial.trial_id,
        trial.drawn,
        ending,
        finite,
        outcomes,
        values if objectives and ending == "complete" else None,
        seconds,
    )


def _from_past(past: PastTrial) -> TrialHistory:
    return TrialHistory(
        past.number,
        past.origin,
        past.drawn,
        ENDINGS[past.state],
        past.scores,
        is_prior=past.is_prior,
    )


def _from_clone(clone: QueuedClone) -> TrialHistory:
    return TrialHistory(clone.number, clone.trial_id, clone.drawn, None, {})


def queued_proposal(clone: QueuedClone) -> ProposedTrial:
    """A trial that was made by hand, as the search hands it out."""
    return ProposedTrial(
        clone.number,
        clone.trial_id,
        clone.fingerprint,
        dict(clone.drawn),
        TrialSpec.model_validate_json(json.dumps(clone.spec)),
        clone_of=clone.clone_of,
        start=clone.start,
        shown=dict(clone.params),
    )


def _reported_again(trial: TrialHistory) -> ReportedTrial:
    """What a draw that repeats the trial is told."""
    return trial.told if trial.ending == "complete" else None


def open_trial(trial: TrialRecord) -> UnfinishedTrial:
    """A trial that was running, of either stage, as it is resumed."""
    proposal = ProposedTrial(
        trial.number,
        trial.trial_id,
        trial.fingerprint,
        dict(trial.drawn),
        recorded_trial(trial),
        dict(trial.adjusted),
        trial.stage,
        trial.arm,
        trial.clone_of,
        trial.start,
    )
    if not trial.reports:
        return UnfinishedTrial(proposal, None)
    last = trial.reports[-1]
    report = LastReport(
        last.evaluation,
        last.num_evaluations,
        last.step,
        dict(last.metrics),
        dict(last.outcomes),
    )
    return UnfinishedTrial(proposal, report)
