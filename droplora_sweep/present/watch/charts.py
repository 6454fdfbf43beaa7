"""Charts of the page: scores over steps and over pruning rates, as shapes in a box of pixels.

They are drawn by the page's own template, not by matplotlib: text stays text, colours follow the
browser's light or dark mode, and drawing anew every few seconds costs next to nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.analysis.evidence import candidates, pruning_rate
from droplora_sweep.records.trial import Stage, TrialState
from droplora_sweep.spec.metric_names import MEAN, score_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from droplora_sweep.present.contents.rates import Point, RatePanel
    from droplora_sweep.records.trial import SweepRecord, TrialRecord

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 56, 12, 44
"""Margins: names of the ticks stand left and below, those of trials right."""
LINE_GAP = 15
"""Pixels between the names of two trials."""
MOST_NAMES = 5
MOST_TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A value of an axis, at so many pixels."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """One point of a chart.

    Attributes:
        x: In pixels.
        y: In pixels.
        kind: Names its look: ``done``, ``running``, ``early``, ``single`` or ``rate``.
        title: The same in words.
    """

    x: float
    y: float
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Whisker:
    """An interval, in pixels."""

    x: float
    high: float
    low: float


@dataclass(frozen=True)
class Line:
    """One trial's scores, or one line through several points.

    Attributes:
        points: As SVG's ``points``.
        kind: Names its look: ``best``, ``pruned``, ``plain`` or ``rates``.
        title: The same in words.
        trial: The trial's id, "" where it is of several.
        end: The mark at its end, None without one.
    """

    points: str
    kind: str
    title: str = ""
    trial: str = ""
    end: Mark | None = None


@dataclass(frozen=True)
class Label:
    """Name of a line, at its end."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Shapes of one chart.

    Attributes:
        key: Its name among the page's charts.
        title: Its subject.
        x_name: Of the horizontal axis.
        alt: All of it in words.
        x_ticks: Values of the horizontal axis.
        y_ticks: Values of the vertical axis.
        lines: In the order in which they are drawn.
        marks: Points that are no end of a line.
        whiskers: Intervals of points.
        labels: Names of lines.
        base: Height of the line of p = 0, None without one.
        band: Top and height of its interval, None without one.
    """

    key: str
    title: str
    x_name: str
    alt: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    whiskers: tuple[Whisker, ...] = ()
    labels: tuple[Label, ...] = ()
    base: float | None = None
    band: tuple[float, float] | None = None


def ticks(low: float, high: float, most: int = MOST_TICKS) -> list[float]:
    """Return round values within a range: 1, 2 or 5 times a power of ten apart.

    >>> ticks(0.0, 1.0), ticks(0.31, 0.47, 4)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.35, 0.4, 0.45])
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def _across(low: float, high: float) -> _Scale:
    return _Scale(low, high if high > low else low + 1, LEFT, WIDTH - RIGHT)


def _upward(values: Iterable[float]) -> _Scale:
    """Return the scale of scores, with some room around them, within 0 and 1 where they are."""
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    room = max(0.08 * (high - low), 0.02)
    top = min(high + room, 1.0) if high <= 1 else high + room
    bottom = max(low - room, 0.0) if low >= 0 else low - room
    return _Scale(bottom, top, HEIGHT - BOTTOM, TOP)


def _score_ticks(scale: _Scale) -> tuple[Tick, ...]:
    values = ticks(scale.low, scale.high)
    return tuple(Tick(scale(value), f"{100 * value:g} %") for value in values)


def curve_charts(record: SweepRecord) -> tuple[Chart, ...]:
    """Return the score over the optimiser steps of every trial, a chart for each stage.

    The score is the mean over the benchmarks where there are several.
    """
    names = [str(name) for name in record.spec["task"]["benchmarks"]]
    subject = MEAN if len(names) > 1 else names[0]
    scored = [one for one in candidates(record.comparable_trials) if subject in one.scores]
    best = max(scored, key=lambda one: one.scores[subject]).trial_id if scored else None
    stages = (
        (Stage.SEARCH, record.search_trials, "validation", "Search"),
        (Stage.CONFIRM, record.confirm_trials, record.confirmed_on, "Confirmation"),
    )
    charts = (
        _curve_chart(trials, score_name(subject, split), best, f"{stage}-curves", title)
        for stage, trials, split, title in stages
    )
    return tuple(chart for chart in charts if chart is not None)


def _curve_chart(
    trials: Sequence[TrialRecord], metric: str, best: str | None, key: str, title: str
) -> Chart | None:
    curves = ((trial, _points(trial, metric)) for trial in trials)
    known = [(trial, points) for trial, points in curves if points]
    if not known:
        return None
    x = _across(0, max(points[-1][0] for _, points in known))
    y = _upward(value for _, points in known for _, value in points)
    # The best one is drawn last, over the others.
    ordered = sorted(known, key=lambda one: one[0].trial_id == best)
    lines = tuple(_curve(trial, points, x, y, best) for trial, points in ordered)
    whole = [round(value) for value in ticks(x.low, x.high, 5) if value == round(value)]
    return Chart(
        key=key,
        title=f"{title}: {metric} over steps",
        x_name="optimiser step",
        alt=_curves_alt(known, metric, best),
        x_ticks=tuple(Tick(x(value), f"{value:,}") for value in whole),
        y_ticks=_score_ticks(y),
        lines=lines,
        labels=_labels(lines),
    )


def _points(trial: TrialRecord, metric: str) -> list[tuple[int, float]]:
    found = ((each.step, each.metrics.get(metric, math.nan)) for each in trial.evaluations)
    return [(step, value) for step, value in found if math.isfinite(value)]


def _curve(
    trial: TrialRecord,
    points: Sequence[tuple[int, float]],
    x: _Scale,
    y: _Scale,
    best: str | None,
) -> Line:
    rate = pruning_rate(trial)
    kind = "best" if trial.trial_id == best else "pruned" if rate > 0 else "plain"
    step, value = points[-1]
    ends = {TrialState.RUNNING: "running", TrialState.COMPLETE: "done"}
    title = f"{trial.trial_id}, p = {rate:g}, {trial.state.lower()}: {value:.1%} at step {step}"
    end = Mark(x(step), y(value), ends.get(trial.state, "early"))
    shape = " ".join(f"{x(step)},{y(value)}" for step, value in points)
    return Line(shape, kind, title, trial.trial_id, end)


def _labels(lines: Sequence[Line]) -> tuple[Label, ...]:
    """Return the names of the best trial and of those that run, none over another."""
    wanted = [
        line
        for line in reversed(lines)
        if line.end is not None and (line.kind == "best" or line.end.kind == "running")
    ][:MOST_NAMES]
    placed: list[Label] = []
    lowest = float(TOP)
    for line in sorted(wanted, key=lambda line: line.end.y if line.end else 0):
        assert line.end is not None, "only such are wanted"
        height = max(line.end.y + 4, lowest)
        placed.append(Label(line.end.x + 8, height, line.trial.partition("-")[0]))
        lowest = height + LINE_GAP
    return tuple(placed)


def _curves_alt(
    known: Sequence[tuple[TrialRecord, list[tuple[int, float]]]], metric: str, best: str | None
) -> str:
    running = [
        f"{trial.trial_id} {points[-1][1]:.1%} at step {points[-1][0]}"
        for trial, points in known
        if not trial.is_finished
    ]
    own = [points[-1] for trial, points in known if trial.trial_id == best]
    text = f"{metric} over optimiser steps of {len(known)} trials."
    if own:
        text += f" Best complete trial: {best}, {own[0][1]:.1%} at step {own[0][0]}."
    return f"{text} Running: {'; '.join(running)}." if running else text


def rate_charts(panels: Sequence[RatePanel]) -> tuple[Chart, ...]:
    """Return the score over the pruning rates, a chart for each subject."""
    return tuple(_rate_chart(panel, number) for number, panel in enumerate(panels))


def _rate_chart(panel: RatePanel, number: int) -> Chart:
    tried = sorted({point.x for point in panel.points} | {rate for rate, _ in panel.trials})
    x = _across(tried[0], tried[-1])
    ends = [
        value
        for point in panel.points
        if point.estimate is not None
        for value in (point.estimate.low, point.estimate.high)
    ]
    scores = [*(point.score for point in panel.points), *(score for _, score in panel.trials)]
    y = _upward([*scores, *ends])
    base, band = _baseline(panel.baseline, y)
    shape = " ".join(f"{x(point.x)},{y(point.score)}" for point in panel.points)
    kind = "confirmed mean" if panel.is_confirmed else "best trial of the rate"
    return Chart(
        key=f"rates-{number}",
        title=panel.subject,
        x_name="pruning rate p",
        alt=panel.alt,
        x_ticks=_apart([Tick(x(rate), f"{rate:g}") for rate in tried]),
        y_ticks=_score_ticks(y),
        lines=(Line(shape, "rates"),),
        marks=(
            *(Mark(x(rate), y(score), "single") for rate, score in panel.trials),
            *(
                Mark(x(point.x), y(point.score), "rate", _point_title(point, kind))
                for point in panel.points
            ),
        ),
        whiskers=tuple(_whiskers(panel.points, x, y)),
        base=base,
        band=band,
    )


def _baseline(
    point: Point | None, y: Callable[[float], float]
) -> tuple[float | None, tuple[float, float] | None]:
    if point is None:
        return None, None
    if point.estimate is None:
        return y(point.score), None
    top = y(point.estimate.high)
    return y(point.score), (top, round(y(point.estimate.low) - top, 1))


def _whiskers(points: Sequence[Point], x: _Scale, y: _Scale) -> Iterable[Whisker]:
    for point in points:
        if point.estimate is not None:
            yield Whisker(x(point.x), y(point.estimate.high), y(point.estimate.low))


def _point_title(point: Point, kind: str) -> str:
    text = f"p = {point.x:g}, {kind}: {point.score:.1%}"
    if point.estimate is None:
        return text
    return f"{text} [{100 * point.estimate.low:.1f}, {100 * point.estimate.high:.1f}]"


def _apart(found: Sequence[Tick]) -> tuple[Tick, ...]:
    """Leave out ticks whose names would touch."""
    kept: list[Tick] = []
    for tick in found:
        if not kept or tick.at - kept[-1].at >= 7 * (len(tick.text) + 1):
            kept.append(tick)
    return tuple(kept)
