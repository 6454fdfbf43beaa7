"""What a search knows when it starts: the ledger's records in the search's terms."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from droplora_sweep.ledger.recorded import recorded_trial
from droplora_sweep.records.trial import TrialState
from droplora_sweep.search.known import Known, KnownTrial, LastReport, OpenTrial
from droplora_sweep.search.suggestion import Suggestion
from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.objectives import SECONDS, objective_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.records.clones import QueuedClone
    from droplora_sweep.records.trial import PastTrial, SweepRecord, TrialRecord
    from droplora_sweep.search import Ending
    from droplora_sweep.search.known import Told

ENDINGS: Mapping[TrialState, Ending | None] = {
    TrialState.RUNNING: None,
    TrialState.COMPLETE: "complete",
    TrialState.STOPPED: "stopped",
    TrialState.FAILED: "failed",
}


def known_of(record: SweepRecord, metric: str) -> Known:
    """Everything a ledger says of trials, for the search to go on from.

    Args:
        record: The sweep; one without trials gives an empty history. Of its trials, those of the
            search stage are known.
        metric: What the search maximises.
    """
    past = {each.number: _from_past(each) for each in record.past}
    trials = record.search_trials
    objectives = record.spec["search"].get("objectives", ())
    own = {trial.number: known_trial(trial, metric, objectives) for trial in trials}
    finished = [trial for trial in trials if trial.is_finished]
    queued = {clone.number: _from_clone(clone) for clone in record.queued_clones}
    return Known(
        trials={**past, **own, **queued},
        open=tuple(open_trial(trial) for trial in trials if not trial.is_finished),
        ended={trial.fingerprint: _told_again(own[trial.number]) for trial in finished},
        specs=tuple(recorded_trial(trial) for trial in trials),
        clones=tuple(queued_suggestion(clone) for clone in record.queued_clones),
        points=tuple(point.values for point in record.points),
        cloned=frozenset(trial.fingerprint for trial in trials if trial.clone_of is not None),
    )


def known_trial(trial: TrialRecord, metric: str, objectives: Sequence[str] = ()) -> KnownTrial:
    """One trial of a ledger; without a finite last score it counts as failed.

    So does one without a finite value of every objective, where there are several, and one that was
    stopped then (see ``search.telling``).
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
        each.evaluation: each.metrics[SECONDS] for each in trial.reports if SECONDS in each.metrics
    }
    values = objective_values(objectives, trial.metrics, math.fsum(seconds.values()))
    if objectives and (ending == "stopped" or (ending == "complete" and values is None)):
        ending = "failed"
    return KnownTrial(
        trial.number,
        trial.trial_id,
        trial.drawn,
        ending,
        finite,
        outcomes,
        values if objectives and ending == "complete" else None,
        seconds,
    )


def _from_past(past: PastTrial) -> KnownTrial:
    return KnownTrial(
        past.number,
        past.origin,
        past.drawn,
        ENDINGS[past.state],
        past.scores,
        is_prior=past.is_prior,
    )


def _from_clone(clone: QueuedClone) -> KnownTrial:
    return KnownTrial(clone.number, clone.trial_id, clone.drawn, None, {})


def queued_suggestion(clone: QueuedClone) -> Suggestion:
    """A trial that was made by hand, as the search hands it out."""
    return Suggestion(
        clone.number,
        clone.trial_id,
        clone.fingerprint,
        dict(clone.drawn),
        TrialSpec.model_validate_json(json.dumps(clone.spec)),
        clone_of=clone.clone_of,
        start=clone.start,
        shown=dict(clone.params),
    )


def _told_again(trial: KnownTrial) -> Told:
    """What a draw that repeats the trial is told."""
    return trial.told if trial.ending == "complete" else None


def open_trial(trial: TrialRecord) -> OpenTrial:
    """A trial that was running, of either stage, as it is taken up again."""
    suggestion = Suggestion(
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
        return OpenTrial(suggestion, None)
    last = trial.reports[-1]
    report = LastReport(
        last.evaluation,
        last.num_evaluations,
        last.step,
        dict(last.metrics),
        dict(last.outcomes),
    )
    return OpenTrial(suggestion, report)
