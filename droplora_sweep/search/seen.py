"""The trials of a search, as the sampler ``decide`` learns of them: the same live and resumed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from droplora_sweep.records.messages import Evaluated, Stopped
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import search_value
from droplora_sweep.surrogate.observed import ObservedTrial

from .decide import SearchState
from .history import TrialHistory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from droplora_sweep.records.messages import Message
    from droplora_sweep.records.trial import Evaluation, PlannedTrial
    from droplora_sweep.spec import Scalar

    from .rules import Outcomes


class SeenTrials:
    """Scores of a search's trials, by number.

    Args:
        metric: The search's metric.
        known: Trials of earlier drivers and of earlier sweeps, by number.
    """

    def __init__(self, metric: str, known: Mapping[int, TrialHistory]) -> None:
        self._metric = metric
        self._trials = {
            number: trial
            for number, trial in known.items()
            if trial.drawn and trial.state is not TrialState.RUNNING
        }
        self._scores = {number: dict(trial.scores) for number, trial in known.items()}

    def report(self, number: int, evaluation: Evaluation) -> None:
        """Note the score of an evaluation."""
        score = search_value(self._metric, evaluation.metrics)
        if math.isfinite(score):
            self._scores.setdefault(number, {})[evaluation.number] = score

    def end(self, planned: PlannedTrial, message: Message | None) -> None:
        """Note a trial's end.

        Args:
            planned: The trial.
            message: The last one; None for a trial that gives nothing to learn from.
        """
        last = None
        if isinstance(message, Evaluated):
            last = message.evaluation
        elif isinstance(message, Stopped):
            last = message.last
        state, outcomes = TrialState.FAILED, {}
        if last is not None and math.isfinite(search_value(self._metric, last.metrics)):
            self.report(planned.number, last)
            is_complete = isinstance(message, Evaluated) and last.is_last
            state = TrialState.COMPLETE if is_complete else TrialState.STOPPED
            outcomes = {last.number: last.outcomes} if last.outcomes else {}
        self._trials[planned.number] = TrialHistory(
            number=planned.number,
            name=planned.trial_id,
            drawn=planned.drawn,
            state=state,
            scores=self._scores.get(planned.number, {}),
            outcomes=outcomes,
        )

    def state(self, running: Iterable[Mapping[str, Scalar]]) -> SearchState:
        """Return what a draw depends on.

        Args:
            running: Raw values of the trials under way.
        """
        trials = [trial for _, trial in sorted(self._trials.items())]
        return SearchState(
            finished=[_observed(trial) for trial in trials if not trial.is_prior],
            running=list(running),
            prior=[_observed(trial) for trial in trials if trial.is_prior],
        )


def _observed(trial: TrialHistory) -> ObservedTrial:
    has_failed = trial.state is TrialState.FAILED
    last = max(trial.scores, default=0)
    outcomes: Outcomes | None = None if has_failed else trial.outcomes.get(last)
    return ObservedTrial(
        drawn=trial.drawn,
        scores={} if has_failed else trial.scores,
        is_complete=trial.state is TrialState.COMPLETE,
        outcomes=outcomes,
    )
