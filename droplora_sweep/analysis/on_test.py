"""Scores of winners on the test split: shown after everything is decided, they decide nothing."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from droplora_sweep.spec.metric_names import MEAN

from .confirmed import comparable
from .evidence import Run, tabulate
from .variance_components import FEWEST_SEEDS, components

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .comparisons import Comparison
    from .confirmed import ConfirmedDecision
    from .estimate import Estimate
    from .evidence import Arm, Scores


@dataclass(frozen=True)
class WinnerOnTest:
    """A recommended arm on the test split, beside p = 0.

    Attributes:
        benchmark: Its name, or ``mean``.
        arm: The recommended arm.
        score: Its mean score over seeds, a fraction.
        baseline_score: That of p = 0; the same where p = 0 is recommended.
        difference: Between the two, with the 95 % interval over new seeds and new examples; None
            where they are one arm, or have too few runs.
        num_seeds: Runs of the recommended arm.
        num_examples: Test examples, over all benchmarks of the mean.
    """

    benchmark: str
    arm: Arm
    score: float
    baseline_score: float
    difference: Estimate | None
    num_seeds: int
    num_examples: int


def winners_on_test(
    comparisons: Sequence[Comparison],
    decisions: Sequence[ConfirmedDecision],
    runs: Mapping[tuple[str, int], Scores],
) -> tuple[WinnerOnTest, ...]:
    """Put the decisions' winners beside p = 0 on the test split, where both were scored on it.

    Args:
        comparisons: The arms of each benchmark.
        decisions: At most one per comparison, made without this: none before the first look.
        runs: Test scores by arm's name and seed.
    """
    by_subject = {comparison.subject: comparison for comparison in comparisons}
    found = (
        _tested(by_subject[decision.benchmark], decision.recommended, runs)
        for decision in decisions
        if decision.recommended is not None
    )
    return tuple(one for one in found if one is not None)


def winner_on_test_text(tested: WinnerOnTest) -> str:
    """One line."""
    rate = tested.arm.pruning_rate
    text = f"{tested.benchmark} on test: p = {rate:g} scores {tested.score:.1%}"
    if rate > 0:
        text += f", p = 0 {tested.baseline_score:.1%}"
    elif tested.baseline_score != tested.score:
        text += f", the search's best p = 0 {tested.baseline_score:.1%}"
    if tested.difference is not None:
        text += f", {tested.difference.as_difference}"
    seeds = f"{tested.num_seeds} seed{'s' * (tested.num_seeds != 1)}"
    return f"{text} ({seeds}, {tested.num_examples:,} examples; scored once)"


def _tested(
    comparison: Comparison, winner: Arm, runs: Mapping[tuple[str, int], Scores]
) -> WinnerOnTest | None:
    baseline = comparison.baseline
    arms = {arm.name: arm for arm in (baseline, winner)}
    own = {key: scores for key, scores in runs.items() if key[0] in arms}
    names = [comparison.subject]
    if comparison.subject == MEAN:
        names = list(dict.fromkeys(name for scores in own.values() for name in scores))
    given = [
        Run(arms[arm], seed, {name: scores[name] for name in names})
        for (arm, seed), scores in own.items()
        if all(name in scores for name in names)
    ]
    if {run.arm for run in given} != set(arms.values()):
        return None
    means = {arm: [_mean(run.scores) for run in given if run.arm == arm] for arm in arms.values()}
    return WinnerOnTest(
        benchmark=comparison.subject,
        arm=winner,
        score=fmean(means[winner]),
        baseline_score=fmean(means[baseline]),
        difference=None if winner == baseline else _difference(given, names, (winner, baseline)),
        num_seeds=len(means[winner]),
        num_examples=sum(len(given[0].scores[name]) for name in names),
    )


def _mean(scores: Scores) -> float:
    known = [[one for one in some.values() if one is not None] for some in scores.values()]
    return fmean(fmean(some) for some in known if some)


def _difference(
    runs: Sequence[Run], names: Sequence[str], arms: tuple[Arm, Arm]
) -> Estimate | None:
    winner, baseline = arms
    table = tabulate(runs)
    kept, parts = comparable(table, MEAN if len(names) > 1 else names[0], baseline)
    if len(kept) < 2 or parts[0].shape[1] < FEWEST_SEEDS:
        return None
    index = kept.index(winner)
    return components(parts).difference(index, 1 - index).estimate
