"""The Optuna study of a sweep: reports to it, and how it is brought to the ledger's state."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState as OptunaState

from droplora_sweep import private_api
from droplora_sweep.records.messages import Evaluated, Stopped
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import TRAIN_SECONDS, search_value
from droplora_sweep.spec.search import objective_values

from .proposal import distribution
from .samplers import population_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    from droplora_sweep.records.messages import Message
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.spec import SweepSpec

    from .history import Reported, TrialHistory


class StudyReporter:
    """Reports of trials to one study.

    Args:
        study: The study.
        sweep: Its metric, and its objectives.
        known: Trials of earlier drivers: seconds of training that they took before count.
    """

    def __init__(
        self, study: optuna.Study, sweep: SweepSpec, known: Mapping[int, TrialHistory]
    ) -> None:
        self._study = study
        self._metric = sweep.search.metric
        self._objectives = sweep.search.objectives
        self._seconds: defaultdict[int, dict[int, float]] = defaultdict(dict)
        for number, trial in known.items():
            self._seconds[number].update(trial.seconds)

    def report(self, trial: optuna.trial.Trial, message: Message) -> None:
        """Report an evaluation; TPE uses those of stopped trials, where there is one objective."""
        if isinstance(message, Evaluated):
            evaluation = message.evaluation
            self._count(trial, evaluation)
            score = search_value(self._metric, evaluation.metrics)
            if math.isfinite(score) and not message.is_repeated and not self._objectives:
                trial.report(score, step=evaluation.number)

    def end(self, trial: optuna.trial.Trial, message: Message | None) -> Reported:
        """Report the trial's end: complete, pruned or, without a finite score, failed.

        With several objectives a trial that is stopped has failed too: what it gained and what it
        cost belong to different lengths of training.

        Args:
            trial: The trial in the study.
            message: The last one; None for a trial that gives none, or none to learn from.

        Returns:
            What to report of a draw that repeats the trial; None if it failed.
        """
        last = None
        if isinstance(message, Evaluated):
            last = message.evaluation
        elif isinstance(message, Stopped):
            last = message.last
        if last is None or not math.isfinite(search_value(self._metric, last.metrics)):
            self._study.tell(trial, state=OptunaState.FAIL)
            return None
        if isinstance(message, Stopped) or not last.is_last:
            if isinstance(message, Evaluated):
                self.report(trial, message)
            state = OptunaState.FAIL if self._objectives else OptunaState.PRUNED
            self._study.tell(trial, state=state)
            return None
        self._count(trial, last)
        reported = self._values(trial.number, last.metrics)
        self.again(trial, reported)
        return reported

    def again(self, trial: optuna.trial.Trial, reported: Reported) -> None:
        """Report the end of a draw that repeats a trial of which this was reported."""
        if reported is None:
            self._study.tell(trial, state=OptunaState.FAIL)
        else:
            self._study.tell(trial, reported)

    def _count(self, trial: optuna.trial.Trial, evaluation: Evaluation) -> None:
        if TRAIN_SECONDS in evaluation.metrics:
            self._seconds[trial.number][evaluation.number] = evaluation.metrics[TRAIN_SECONDS]

    def _values(self, number: int, metrics: Mapping[str, float]) -> Reported:
        if not self._objectives:
            return search_value(self._metric, metrics)
        seconds = math.fsum(self._seconds[number].values())
        return objective_values(self._objectives, metrics, seconds)


ORIGIN = "of_earlier_sweep"
"""User attribute of a trial in the study that is none of the sweep's own."""

STATES: Mapping[TrialState, OptunaState] = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


@dataclass(frozen=True)
class Unreported:
    """End of a trial that was not reported to the study.

    Attributes:
        number: The trial's number.
        state: COMPLETE, PRUNED or FAIL.
        reported: Score, or value of each objective, of a complete trial.
    """

    number: int
    state: OptunaState
    reported: Reported = None


def unreported_endings(
    known: Mapping[int, TrialHistory], studied: Sequence[FrozenTrial]
) -> list[Unreported] | None:
    """Return the ends that were not reported to the study before its driver died.

    That is the end of a trial that has finished in the ledger and runs in the study. One that runs
    in the study and is not in the ledger was drawn and never started: it failed. One that runs in
    both is resumed. One that has finished in the study and is not in the ledger (a draw that
    repeats an earlier trial) stays.

    Args:
        known: The ledger's trials by number.
        studied: The study's trials.

    Returns:
        In the order of their numbers; None where no report helps, since the study lacks a trial,
        has another one under its number, or another end of it.
    """
    by_number = {trial.number: trial for trial in studied}
    endings = []
    for number, trial in known.items():
        found = by_number.get(number)
        state = STATES[trial.state]
        if found is None or found.params != trial.drawn:
            return None
        if found.state is OptunaState.RUNNING and state is not OptunaState.RUNNING:
            value = trial.reported if state is OptunaState.COMPLETE else None
            endings.append(Unreported(number, state, value))
        elif found.state is not state:
            return None
    endings += [
        Unreported(trial.number, OptunaState.FAIL)
        for trial in studied
        if trial.state is OptunaState.RUNNING and trial.number not in known
    ]
    return sorted(endings, key=lambda each: each.number)


def reconciled_study(
    study: optuna.Study, known: Mapping[int, TrialHistory], sweep: SweepSpec
) -> optuna.Study:
    """Return the study as the ledger has it: with the ends that it missed, or made anew."""
    endings = unreported_endings(known, study.get_trials(deepcopy=False))
    if endings is None:
        return _remade(study, known, sweep)
    for ending in endings:
        study.tell(ending.number, ending.reported, state=ending.state)
    return study


def _remade(
    study: optuna.Study, known: Mapping[int, TrialHistory], sweep: SweepSpec
) -> optuna.Study:
    name, storage, directions = study.study_name, private_api.study_storage(study), study.directions
    optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    num_complete = 0
    for number in range(max(known, default=-1) + 1):
        # A number that the ledger does not know was of a draw that was never run.
        trial = known.get(number)
        study.add_trial(
            optuna.trial.create_trial(state=OptunaState.FAIL)
            if trial is None
            else _frozen(trial, sweep, num_complete)
        )
        num_complete += trial is not None and trial.state is TrialState.COMPLETE
    return study


def _frozen(trial: TrialHistory, sweep: SweepSpec, num_complete: int) -> FrozenTrial:
    parameters, state = sweep.search.parameters, STATES[trial.state]
    values = None if trial.score is None else [trial.score]
    if sweep.search.objectives:
        values = None if trial.values is None else list(trial.values)
        # Of another sweep's trials that a fork knows, the score alone is known.
        state = OptunaState.FAIL if state is OptunaState.COMPLETE and values is None else state
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=dict(trial.drawn),
        distributions={path: distribution(parameters[path]) for path in trial.drawn},
        intermediate_values={} if sweep.search.objectives else dict(trial.scores),
        user_attrs={ORIGIN: trial.name} if trial.is_prior else {},
        system_attrs=population_attributes(sweep, num_complete),
    )
