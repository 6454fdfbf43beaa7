"""Score against rank, with and without pruning: the paper's Figure 3, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

from .canvas import SERIES, Picture, draw, legend_below, percent, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from droplora_sweep.analysis.evidence import Candidate
    from droplora_sweep.analysis.intervals import Estimate
    from droplora_sweep.present.report.facts import Facts


FIRST = ("LoRA (p = 0)", "DropLoRA (p > 0)")
"""The two lines of the paper's figure, drawn alike in every panel."""


@dataclass(frozen=True)
class RankPoint:
    """The best complete trial of one rank.

    Attributes:
        rank: The rank.
        score: A fraction.
        estimate: The same with its 95 % interval; None where it has none.
        pruning_rate: The trial's.
    """

    rank: int
    score: float
    estimate: Estimate | None
    pruning_rate: float


@dataclass(frozen=True)
class RankPanel:
    """One benchmark, or the mean.

    Attributes:
        subject: Its name.
        series: Points by method, LoRA and DropLoRA first, each ascending by rank.
    """

    subject: str
    series: tuple[tuple[str, tuple[RankPoint, ...]], ...]

    @property
    def alt(self) -> str:
        """The same in words."""
        parts = []
        for name, points in self.series:
            listed = ", ".join(f"rank {point.rank} {point.score:.1%}" for point in points)
            parts.append(f"{name}: {listed}")
        return f"{self.subject}, best score of each rank: {'; '.join(parts)}."


def rank_panels(facts: Facts) -> tuple[RankPanel, ...]:
    """One panel per subject; none where all complete trials have one rank."""
    ranked = [one for one in facts.complete if method_of(one.method).has_rank]
    if len({one.rank for one in ranked}) < 2:
        return ()
    return tuple(_panel(facts, ranked, subject) for subject in facts.subjects)


def method_label(method: str, pruning_rate: float) -> str:
    """How a method is called with and without pruning."""
    if method_of(method).is_lora:
        return FIRST[pruning_rate > 0]
    return f"{method}, p > 0" if pruning_rate > 0 else method


def _panel(facts: Facts, ranked: list[Candidate], subject: str) -> RankPanel:
    best: dict[str, dict[int, Candidate]] = {}
    for one in ranked:
        if subject in one.scores:
            of_method = best.setdefault(method_label(one.method, one.pruning_rate), {})
            before = of_method.get(one.rank)
            if before is None or one.scores[subject] > before.scores[subject]:
                of_method[one.rank] = one
    names = sorted(
        best, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)
    )
    return RankPanel(
        subject,
        tuple((name, _points(facts, best[name], subject)) for name in names),
    )


def _points(facts: Facts, best: dict[int, Candidate], subject: str) -> tuple[RankPoint, ...]:
    return tuple(
        RankPoint(
            rank,
            one.scores[subject],
            facts.estimates.get(one.trial_id, {}).get(subject),
            one.pruning_rate,
        )
        for rank, one in sorted(best.items())
    )


def draw_ranks(panels: Sequence[RankPanel]) -> Picture:
    """One panel per subject, one line per method."""
    return draw("score_against_rank", panels, _draw, lambda panel: panel.alt)


def _draw(axes: Axes, panel: RankPanel) -> None:
    axes.set_title(shortened(panel.subject))
    axes.set_xlabel("rank")
    axes.set_ylabel("validation score")
    axes.set_xscale("log", base=2)
    percent(axes)
    num_series = len(panel.series)
    for index, (name, points) in enumerate(panel.series):
        color, marker, line = SERIES[index % len(SERIES)]
        # Points of one rank stand side by side, so that their intervals can be distinguished.
        shift = 2 ** (0.07 * (index - (num_series - 1) / 2))
        ranks = [point.rank * shift for point in points]
        scores = [point.score for point in points]
        axes.plot(ranks, scores, color=color, marker=marker, linestyle=line, label=shortened(name))
        for rank, point in zip(ranks, points, strict=True):
            if point.estimate is not None:
                axes.vlines(
                    rank, point.estimate.low, point.estimate.high, color=color, linewidth=1.2
                )
    shown = sorted({point.rank for _, points in panel.series for point in points})
    axes.set_xticks(shown, [str(rank) for rank in shown])
    axes.minorticks_off()
    legend_below(axes)
