"""Learning curves, and the number of trials that continued after each evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.analysis.evidence import pruning_rate
from droplora_sweep.spec.metric_names import TRAIN_LOSS, score_name

if TYPE_CHECKING:
    from droplora_sweep.records.trial import TrialRecord

    from .facts import Facts


@dataclass(frozen=True)
class Curve:
    """One trial's values over its steps.

    Attributes:
        trial_id: Name of the trial.
        points: Optimiser step and value, finite.
        is_pruned: True of a pruning rate above 0.
        is_complete: True of one that trained to its full length.
        is_best: True of the best score of all complete trials.
    """

    trial_id: str
    points: tuple[tuple[int, float], ...]
    is_pruned: bool
    is_complete: bool
    is_best: bool


@dataclass(frozen=True)
class CurvePanel:
    """One metric of all trials."""

    metric: str
    curves: tuple[Curve, ...]

    @property
    def alt(self) -> str:
        """The same in words."""
        ends = [curve for curve in self.curves if curve.is_best]
        first = f"{self.metric} over optimiser steps of {len(self.curves)} trials."
        if not ends:
            return first
        [best] = ends
        listed = ", ".join(f"{value:.3g} at step {step}" for step, value in best.points)
        return f"{first} The best trial, {best.trial_id}: {listed}."


@dataclass(frozen=True)
class Rung:
    """One evaluation, and what became of the trials that came to it.

    Attributes:
        evaluation: Its number, from 1.
        num_reached: Trials that reported it.
        num_stopped: Of these, trials that were stopped early after it.
        num_failed: Of these, trials that failed after it.
        num_running: Of these, trials that have not come further yet.
    """

    evaluation: int
    num_reached: int
    num_stopped: int
    num_failed: int
    num_running: int

    @property
    def num_going_on(self) -> int:
        """Trials that continued, or were complete."""
        return self.num_reached - self.num_stopped - self.num_failed - self.num_running


def curve_panels(facts: Facts) -> tuple[CurvePanel, ...]:
    """Validation score and training loss of the search's trials; none without two evaluations."""
    if len(rungs(facts)) < 2:
        return ()
    subject = facts.subjects[0]
    scored = [one for one in facts.complete if subject in one.scores]
    best = max(scored, key=lambda one: one.scores[subject]).trial_id if scored else None
    panels = []
    for metric in (score_name(subject), TRAIN_LOSS):
        curves = (_curve(trial, metric, best) for trial in facts.searched)
        kept = tuple(curve for curve in curves if curve.points)
        if kept:
            panels.append(CurvePanel(metric, kept))
    return tuple(panels)


def rungs(facts: Facts) -> tuple[Rung, ...]:
    """One per evaluation that any trial of the search came to."""
    reported = [trial for trial in facts.searched if trial.evaluations]
    last = max((trial.evaluations[-1].number for trial in reported), default=0)
    return tuple(_rung(reported, evaluation) for evaluation in range(1, last + 1))


@dataclass(frozen=True)
class RungPanel:
    """The rungs of a sweep."""

    rungs: tuple[Rung, ...]

    @property
    def alt(self) -> str:
        """The same in words."""
        return " ".join(
            f"Evaluation {rung.evaluation}: {rung.num_reached} trials reached it, "
            f"{rung.num_stopped} were stopped, {rung.num_failed} failed after it."
            for rung in self.rungs
        )


def _curve(trial: TrialRecord, metric: str, best: str | None) -> Curve:
    return Curve(
        trial_id=trial.trial_id,
        points=tuple(
            (report.step, report.metrics[metric])
            for report in trial.evaluations
            if math.isfinite(report.metrics.get(metric, math.nan))
        ),
        is_pruned=pruning_rate(trial) > 0,
        is_complete=trial.state == "COMPLETE",
        is_best=trial.trial_id == best,
    )


def _rung(reported: list[TrialRecord], evaluation: int) -> Rung:
    reached = [trial for trial in reported if trial.evaluations[-1].number >= evaluation]
    ended = [trial.state for trial in reached if trial.evaluations[-1].number == evaluation]
    return Rung(
        evaluation=evaluation,
        num_reached=len(reached),
        num_stopped=sum(state == "STOPPED" for state in ended),
        num_failed=sum(state == "FAILED" for state in ended),
        num_running=sum(state == "RUNNING" for state in ended),
    )
