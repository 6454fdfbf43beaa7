"""Tells an Optuna study how a trial goes and ends; with several objectives, by all of them."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState as OptunaState

from droplora_sweep.spec.objectives import SECONDS, objective_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna

    from droplora_sweep.spec import SweepSpec

    from .known import KnownTrial, Told

DELIVERED_AGAIN = "delivered_again"
"""In a result: the study and the ledger have it from an earlier driver."""

IS_STOPPED = "is_stopped"
"""In a result: somebody stopped the trial between two evaluations."""


class Telling:
    """What one study is told.

    Args:
        study: The study.
        sweep: Its metric, and its objectives.
        known: Trials of earlier drivers: seconds of training that they took before count.
    """

    def __init__(
        self, study: optuna.Study, sweep: SweepSpec, known: Mapping[int, KnownTrial]
    ) -> None:
        self._study = study
        self._metric = sweep.search.metric
        self._objectives = sweep.search.objectives
        self._seconds: defaultdict[int, dict[int, float]] = defaultdict(dict)
        for number, trial in known.items():
            self._seconds[number].update(trial.seconds)

    def report(self, trial: optuna.trial.Trial, result: Mapping[str, Any]) -> None:
        """An evaluation. TPE uses those of trials stopped early, where there is one objective."""
        self._count(trial, result)
        score = result.get(self._metric)
        is_delivered_again = result.get(DELIVERED_AGAIN, False)
        if score is None or not math.isfinite(score) or is_delivered_again or self._objectives:
            return
        trial.report(score, step=result["evaluation"])

    def end(self, trial: optuna.trial.Trial, result: Mapping[str, Any] | None) -> Told:
        """The trial's end: complete, pruned or, without a finite score, failed.

        With several objectives a trial that is stopped has failed too: what it gained and what it
        cost belong to different lengths of training.

        Args:
            trial: Of the study.
            result: The last one; None for a trial that gives none, or none to learn from.

        Returns:
            What a draw that repeats the trial is to be told; None if it failed.
        """
        score = (result or {}).get(self._metric)
        if result is None or score is None or not math.isfinite(score):
            self._study.tell(trial, state=OptunaState.FAIL)
            return None
        if IS_STOPPED in result or result["evaluation"] < result["num_evaluations"]:
            self.report(trial, result)
            state = OptunaState.FAIL if self._objectives else OptunaState.PRUNED
            self._study.tell(trial, state=state)
            return None
        self._count(trial, result)
        told = self._values(trial.number, result)
        self.again(trial, told)
        return told

    def again(self, trial: optuna.trial.Trial, told: Told) -> None:
        """A draw that repeats a trial that was told so."""
        if told is None:
            self._study.tell(trial, state=OptunaState.FAIL)
        else:
            self._study.tell(trial, told)

    def _count(self, trial: optuna.trial.Trial, result: Mapping[str, Any]) -> None:
        if SECONDS in result:
            self._seconds[trial.number][result["evaluation"]] = result[SECONDS]

    def _values(self, number: int, result: Mapping[str, Any]) -> Told:
        if not self._objectives:
            score: float = result[self._metric]
            return score
        seconds = math.fsum(self._seconds[number].values())
        return objective_values(self._objectives, result, seconds)
