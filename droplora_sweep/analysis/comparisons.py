"""Comparisons of a confirmation: the settings of the search worth confirming, per benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .evidence import Arm, benchmarks, candidates, has_rank, subjects_of
from .search_decision import TIE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .evidence import Candidate

BASELINE_SUFFIX = "@p=0"
SPACING = 0.05
"""Rates closer than this count as one rate: the better trial stands for both."""


@dataclass(frozen=True)
class Comparison:
    """The arms that answer the comparison of one benchmark.

    Attributes:
        subject: The benchmark, or ``mean``.
        arms: p = 0 first, then the others from the best search-stage score down, then their
            controls. An arm has the setting of the trial it is named after; a name that ends in
            ``@p=0`` stands for that trial's setting with its pruning rates set to 0.
        num_candidates: Complete trials with p > 0 that they were picked from.
        tied: Rates that scored as well in the search as one that was picked, and were not picked.
    """

    subject: str
    arms: tuple[Arm, ...]
    num_candidates: int
    tied: tuple[float, ...] = ()

    @property
    def baseline(self) -> Arm:
        """The best that p = 0 has to offer."""
        return self.arms[0]


def choose_comparisons(
    records: Sequence[TrialRecord],
    *,
    num_rates: int = 3,
    with_controls: bool = False,
) -> list[Comparison]:
    """Pick the settings to confirm, for each benchmark and for their mean where there are several.

    The best trial of each rate stands for the rate, and the best rates are taken. p = 0 is always
    among the arms: the best trial that had it, or, where none is complete, the best setting of
    all without its pruning.

    Args:
        records: The trials of the search stage, in any state. Those that were stopped early,
            failed, or have no score on a benchmark are not picked for it.
        num_rates: At most this many arms with p > 0 for each benchmark.
        with_controls: True to make each setting an arm without its pruning too.

    Returns:
        One per benchmark that has a complete trial with p > 0; empty where there is none.
    """
    assert num_rates >= 1, "one rate is needed to compare with p = 0"
    chosen_from = candidates([record for record in records if has_rank(record)])
    found = (
        _comparison(subject, chosen_from, num_rates, with_controls=with_controls)
        for subject in subjects_of(benchmarks(records))
    )
    return [one for one in found if one is not None]


def _comparison(
    subject: str,
    chosen_from: Sequence[Candidate],
    num_rates: int,
    *,
    with_controls: bool,
) -> Comparison | None:
    ranked = sorted(
        (one for one in chosen_from if subject in one.scores),
        key=lambda one: (-one.scores[subject], one.pruning_rate, one.rank, one.number),
    )
    pruned = [one for one in ranked if one.pruning_rate > 0]
    if not pruned:
        return None
    picked: list[Candidate] = []
    for one in pruned:
        distances = [abs(one.pruning_rate - other.pruning_rate) for other in picked]
        if len(picked) < num_rates and all(gap >= SPACING - 1e-9 for gap in distances):
            picked.append(one)
    controls = {one.trial_id: one.trial_id + BASELINE_SUFFIX for one in picked if with_controls}
    arms = (
        _baseline(ranked),
        *(Arm(one.trial_id, one.pruning_rate, controls.get(one.trial_id)) for one in picked),
        *(Arm(name, 0.0) for name in controls.values()),
    )
    chosen = {one.pruning_rate for one in picked}
    scores = [one.scores[subject] for one in picked]
    tied = {
        one.pruning_rate
        for one in pruned
        if one.pruning_rate not in chosen
        and any(abs(one.scores[subject] - score) < TIE for score in scores)
    }
    return Comparison(subject, tuple(dict.fromkeys(arms)), len(pruned), tuple(sorted(tied)))


def affordable_comparisons(
    records: Sequence[TrialRecord],
    *,
    num_rates: int,
    num_seeds: int,
    max_runs: int | None,
    with_controls: bool = False,
) -> tuple[Comparison, ...]:
    """The comparisons of a confirmation, with as many rates as there is room for.

    Each benchmark has its own arms; where there is no room even for one rate of each, all
    benchmarks are decided on the arms of their mean.

    Args:
        records: The trials of the search stage.
        num_rates: Rates per benchmark, at most.
        num_seeds: Seeds at the first look.
        max_runs: Runs in all; None for no limit.
        with_controls: True to make each setting an arm without its pruning too.
    """
    chosen = [
        tuple(choose_comparisons(records, num_rates=number, with_controls=with_controls))
        for number in range(num_rates, 0, -1)
    ]
    shared = [
        tuple(
            replace(comparison, arms=comparisons[-1].arms, tied=comparisons[-1].tied)
            for comparison in comparisons
        )
        for comparisons in chosen
    ]
    for comparisons in (*chosen, *shared):
        if max_runs is None or len(all_arms(comparisons)) * num_seeds <= max_runs:
            return comparisons
    return shared[-1]


def all_arms(comparisons: Sequence[Comparison]) -> tuple[Arm, ...]:
    """The arms of all comparisons, each once."""
    return tuple(dict.fromkeys(arm for comparison in comparisons for arm in comparison.arms))


def ties_text(comparisons: Sequence[Comparison]) -> str:
    """One line: which rates scored as well in the search as confirmed ones and were left out."""
    found = [
        f"{', '.join(f'{rate:g}' for rate in comparison.tied)} on {comparison.subject}"
        for comparison in comparisons
        if comparison.tied
    ]
    if not found:
        return ""
    return (
        "Tied in the search with a confirmed rate, and not confirmed: p = "
        f"{'; p = '.join(found)}. Of equal rates the smaller was taken; `confirm.rates` "
        "and `confirm.max_runs` limit how many are confirmed."
    )


def _baseline(ranked: Sequence[Candidate]) -> Arm:
    unpruned = [one for one in ranked if one.pruning_rate == 0]
    if unpruned:
        return Arm(unpruned[0].trial_id, 0.0)
    return Arm(ranked[0].trial_id + BASELINE_SUFFIX, 0.0)
