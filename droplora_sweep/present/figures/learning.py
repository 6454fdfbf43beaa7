"""Learning curves, and the number of trials that each evaluation let go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from droplora_sweep.analysis.evidence import pruning_rate
from droplora_sweep.spec.metric_names import TRAIN_LOSS, score_name

from .canvas import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    Picture,
    draw,
    legend_below,
    percent,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from droplora_sweep.present.report.facts import Facts
    from droplora_sweep.records.trial import TrialRecord


@dataclass(frozen=True)
class Curve:
    """One trial's values over its steps.

    Attributes:
        trial_id: Name of the trial.
        points: Optimiser step and value, finite.
        is_pruned: Whether its pruning rate is above 0.
        is_complete: Whether it trained to its full length.
        is_best: Whether it has the best score of all complete trials.
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
        """Trials that went on, or were complete."""
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
    reported = [trial for trial in facts.searched if trial.reports]
    last = max((trial.reports[-1].evaluation for trial in reported), default=0)
    return tuple(_rung(reported, evaluation) for evaluation in range(1, last + 1))


def rungs_alt(found: tuple[Rung, ...]) -> str:
    """The rungs in words."""
    return " ".join(
        f"Evaluation {rung.evaluation}: {rung.num_reached} trials reached it, "
        f"{rung.num_stopped} were stopped, {rung.num_failed} failed after it."
        for rung in found
    )


def _curve(trial: TrialRecord, metric: str, best: str | None) -> Curve:
    return Curve(
        trial_id=trial.trial_id,
        points=tuple(
            (report.step, report.metrics[metric])
            for report in trial.reports
            if math.isfinite(report.metrics.get(metric, math.nan))
        ),
        is_pruned=pruning_rate(trial) > 0,
        is_complete=trial.state == "COMPLETE",
        is_best=trial.trial_id == best,
    )


def _rung(reported: list[TrialRecord], evaluation: int) -> Rung:
    reached = [trial for trial in reported if trial.reports[-1].evaluation >= evaluation]
    ended = [trial.state for trial in reached if trial.reports[-1].evaluation == evaluation]
    return Rung(
        evaluation=evaluation,
        num_reached=len(reached),
        num_stopped=sum(state == "STOPPED" for state in ended),
        num_failed=sum(state == "FAILED" for state in ended),
        num_running=sum(state == "RUNNING" for state in ended),
    )


LOOKS: dict[str, tuple[str, Any, float]] = {
    "best complete trial": (BLACK, "-", 3.0),
    "p > 0": (BLUE, "-", 1.0),
    "p = 0": (VERMILION, (0, (4, 2)), 1.4),
}
"""Colour, line style and width of a curve."""


def draw_curves(panels: Sequence[CurvePanel]) -> Picture:
    """One panel per metric, one line per trial."""
    return draw("learning_curves", panels, _draw_curves, lambda panel: panel.alt)


def draw_rungs(rungs: tuple[Rung, ...], alt: str) -> Picture:
    """One panel of stacked bars."""
    return draw("rung_survival", [rungs], _draw_rungs, lambda _: alt)


def _draw_curves(axes: Axes, panel: CurvePanel) -> None:
    axes.set_title(shortened(panel.metric))
    axes.set_xlabel("optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    if panel.metric != TRAIN_LOSS:
        percent(axes)
    named: set[str] = set()
    for curve in panel.curves:
        steps, values = zip(*curve.points, strict=True)
        name = "best complete trial" if curve.is_best else "p > 0" if curve.is_pruned else "p = 0"
        color, line, width = LOOKS[name]
        axes.plot(
            steps,
            values,
            color=color,
            linestyle=line,
            linewidth=width,
            alpha=1.0 if curve.is_best else 0.7,
            zorder=3 if curve.is_best else 2,
            label=None if name in named else name,
        )
        named.add(name)
        if not curve.is_complete:
            label = None if "ended early" in named else "ended early"
            axes.plot(steps[-1], values[-1], "x", color=GREY, markersize=6, label=label)
            named.add("ended early")
        else:
            axes.plot(steps[-1], values[-1], "o", color=color, markersize=3.5)
    legend_below(axes)


def _draw_rungs(axes: Axes, rungs: tuple[Rung, ...]) -> None:
    places = [rung.evaluation for rung in rungs]
    last = [0] * len(rungs)
    kinds = (
        ("went on, or complete", BLUE, "", [rung.num_going_on for rung in rungs]),
        ("stopped early", ORANGE, "///", [rung.num_stopped for rung in rungs]),
        ("failed", VERMILION, "xxx", [rung.num_failed for rung in rungs]),
        ("still there", SKY, "", [rung.num_running for rung in rungs]),
    )
    for name, color, hatch, counts in kinds:
        if any(counts):
            axes.bar(
                places,
                counts,
                bottom=last,
                color=color,
                hatch=hatch,
                edgecolor=BLACK,
                linewidth=0.7,
                width=0.6,
                label=name,
            )
            last = [low + count for low, count in zip(last, counts, strict=True)]
    for place, rung in zip(places, rungs, strict=True):
        axes.annotate(str(rung.num_reached), (place, rung.num_reached), ha="center", va="bottom")
    axes.set_xticks(places if len(places) <= 12 else axes.get_xticks())
    axes.set_xlabel("evaluation")
    axes.set_ylabel("trials that reached it")
    axes.margins(y=0.12)
    legend_below(axes)
