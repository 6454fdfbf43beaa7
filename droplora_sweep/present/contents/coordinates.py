"""Parallel coordinates: each trial is a line through its settings to its score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.metric_names import score_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar

    from .facts import Facts


MOST_TICKS = 6
WIDE = 20.0
"""Positive numbers whose largest is this many times the smallest are put on a log axis."""


@dataclass(frozen=True)
class Axis:
    """One searched parameter, or the score.

    Attributes:
        name: Dotted path of the parameter, or the metric.
        ticks: Height in [0, 1] and what is written there.
    """

    name: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Line:
    """One trial.

    Attributes:
        trial_id: Name of the trial.
        heights: Its height on each axis, in [0, 1]; None where it has no such parameter.
        is_complete: True of one that trained to its full length; another's score counts less.
    """

    trial_id: str
    heights: tuple[float | None, ...]
    is_complete: bool


@dataclass(frozen=True)
class Coordinates:
    """The axes, the score last, and the trials from the lowest score to the highest."""

    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]

    @property
    def alt(self) -> str:
        """The same in words."""
        names = ", ".join(axis.name for axis in self.axes[:-1])
        best = next((line.trial_id for line in reversed(self.lines) if line.is_complete), None)
        ending = "" if best is None else f" The best complete trial is {best}."
        return (
            f"{len(self.lines)} trials as lines through {names} to {self.axes[-1].name}.{ending} "
            "The table of trials lists the same values."
        )


def coordinates(facts: Facts) -> Coordinates | None:
    """The search-stage trials that have a score; None with fewer than two or nothing searched.

    Without members of a population that have copied another: they have several settings.
    """
    metric = score_name(facts.subjects[0])
    scored = [
        trial
        for trial in facts.searched
        if math.isfinite(trial.metrics.get(metric, math.nan)) and not trial.schedule
    ]
    names = list(dict.fromkeys(name for trial in scored for name in trial.params))
    if len(scored) < 2 or not names:
        return None
    scored.sort(key=lambda trial: trial.metrics[metric])
    columns = [_column(name, [trial.params.get(name) for trial in scored]) for name in names]
    columns.append(_numbers(metric, [trial.metrics[metric] for trial in scored], percent=True))
    lines = tuple(
        Line(
            trial.trial_id,
            tuple(heights[index] for _, heights in columns),
            trial.state == "COMPLETE",
        )
        for index, trial in enumerate(scored)
    )
    return Coordinates(tuple(axis for axis, _ in columns), lines)


def _column(name: str, values: Sequence[Scalar | None]) -> tuple[Axis, list[float | None]]:
    given = [value for value in values if value is not None]
    numbers = [value for value in given if isinstance(value, int | float)]
    if len(numbers) == len(given) and not any(isinstance(value, bool) for value in given):
        return _numbers(name, values)
    kinds = sorted({str(value) for value in given})
    places = _spread(kinds)
    heights = [None if value is None else places[str(value)] for value in values]
    return Axis(name, tuple((places[kind], kind) for kind in kinds)), heights


def _spread(kinds: Sequence[str]) -> Mapping[str, float]:
    if len(kinds) == 1:
        return {kinds[0]: 0.5}
    return {kind: index / (len(kinds) - 1) for index, kind in enumerate(kinds)}


def _numbers(
    name: str, values: Sequence[Scalar | None], *, percent: bool = False
) -> tuple[Axis, list[float | None]]:
    given = [float(value) for value in values if value is not None]
    low, high = min(given), max(given)
    is_log = low > 0 and high >= WIDE * low

    def height(value: float) -> float:
        if low == high:
            return 0.5
        if is_log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    different = sorted(set(given))
    shown = different if len(different) <= MOST_TICKS else _between(low, high, is_log=is_log)
    ticks = tuple((height(value), f"{value:.1%}" if percent else f"{value:.3g}") for value in shown)
    heights = [None if value is None else height(float(value)) for value in values]
    return Axis(name, ticks), heights


def _between(low: float, high: float, *, is_log: bool) -> list[float]:
    shares = [index / (MOST_TICKS - 2) for index in range(MOST_TICKS - 1)]
    if is_log:
        return [low * (high / low) ** share for share in shares]
    return [low + (high - low) * share for share in shares]
