"""Comparisons of a confirmation: the settings of the search worth confirming, per benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .evidence import Arm, benchmarks, candidates, has_rank, subjects_of
from .search_decision import TIE
from .surface.finalists import by_posterior, by_score

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .evidence import Candidate
    from .surface.finalists import Ranking
    from .surface.posterior import SearchPosterior

BASELINE_SUFFIX = "@p=0"


@dataclass(frozen=True)
class Comparison:
    """The arms that answer the comparison of one benchmark.

    Attributes:
        subject: The benchmark, or ``mean``.
        arms: p = 0 first, then the others from the likeliest to be the best down, then their
            controls. An arm has the setting of the trial it is named after; a name that ends in
            ``@p=0`` stands for that trial's setting with its pruning rates set to 0.
        num_candidates: Complete trials with p > 0 that they were picked from.
        tied: Rates that scored as well in the search as one that was picked, and were not picked;
            empty where a model picked, which tells equal scores apart.
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
    model: SearchPosterior | None = None,
) -> list[Comparison]:
    """Pick the settings to confirm, for each benchmark and for their mean where there are several.

    One trial of each rate stands for the rate, and the best rates are taken. p = 0 is always among
    the arms: the best trial that had it, or, where none is complete, the best setting of all
    without its pruning. What is best, the model says; where it says nothing of a benchmark, the
    observed score does (see `surface.finalists`).

    Args:
        records: The trials of the search stage, in any state. Those that were stopped early,
            failed, or have no score on a benchmark are not picked for it.
        num_rates: At most this many arms with p > 0 for each benchmark.
        with_controls: True to make each setting an arm without its pruning too.
        model: Of the search; None to go by observed scores.

    Returns:
        One per benchmark that has a complete trial with p > 0; empty where there is none.
    """
    assert num_rates >= 1, "one rate is needed to compare with p = 0"
    return [one.with_rates(num_rates, with_controls) for one in _choices(records, model)]


def affordable_comparisons(
    records: Sequence[TrialRecord],
    *,
    num_rates: int,
    num_seeds: int,
    max_runs: int | None,
    with_controls: bool = False,
    model: SearchPosterior | None = None,
    begun: Collection[str] = (),
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
        model: Of the search; None to go by observed scores.
        begun: Names of arms that have runs. The model's choice is the same each time, up to
            rounding on another machine; where that takes an arm away, those with runs are kept.
    """
    choices = _choices(records, model)
    found = _affordable(choices, num_rates, num_seeds, max_runs, with_controls)
    if model is None or {*begun} <= {arm.name for arm in all_arms(found)}:
        return found
    trials = {name.removesuffix(BASELINE_SUFFIX) for name in begun}
    choices = _choices(records, model, trials)
    return _affordable(choices, num_rates, num_seeds, max_runs, with_controls)


def _affordable(
    choices: Sequence[_Choice],
    num_rates: int,
    num_seeds: int,
    max_runs: int | None,
    with_controls: bool,
) -> tuple[Comparison, ...]:
    chosen = [
        tuple(one.with_rates(number, with_controls) for one in choices)
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


@dataclass(frozen=True)
class _Choice:
    """The trials of one benchmark to choose from.

    Attributes:
        subject: The benchmark, or ``mean``.
        ranked: Its complete trials, the best observed score first.
        ranking: Those that stand for rates.
        is_modelled: True where a model ranked them.
    """

    subject: str
    ranked: tuple[Candidate, ...]
    ranking: Ranking
    is_modelled: bool

    def with_rates(self, num_rates: int, with_controls: bool) -> Comparison:
        """Return the comparison with at most this many rates above 0."""
        picked = self.ranking.finalists[:num_rates]
        controls = {one.trial_id: one.trial_id + BASELINE_SUFFIX for one in picked if with_controls}
        arms = (
            self._baseline,
            *(Arm(one.trial_id, one.pruning_rate, controls.get(one.trial_id)) for one in picked),
            *(Arm(name, 0.0) for name in controls.values()),
        )
        pruned = [one for one in self.ranked if one.pruning_rate > 0]
        tied = () if self.is_modelled else _tied(self.subject, pruned, picked)
        return Comparison(self.subject, tuple(dict.fromkeys(arms)), len(pruned), tied)

    @property
    def _baseline(self) -> Arm:
        unpruned = self.ranking.unpruned
        suffix = "" if unpruned.pruning_rate == 0 else BASELINE_SUFFIX
        return Arm(unpruned.trial_id + suffix, 0.0)


def _choices(
    records: Sequence[TrialRecord],
    model: SearchPosterior | None,
    begun: Collection[str] = (),
) -> list[_Choice]:
    chosen_from = candidates([record for record in records if has_rank(record)])
    found = []
    for subject in subjects_of(benchmarks(records)):
        scored = [one for one in chosen_from if subject in one.scores]
        ranked = tuple(
            sorted(
                scored,
                key=lambda one: (-one.scores[subject], one.pruning_rate, one.rank, one.number),
            )
        )
        if any(one.pruning_rate > 0 for one in ranked):
            posterior = None if model is None else model.of(subject)
            ranking = (
                by_score(ranked) if posterior is None else by_posterior(ranked, posterior, begun)
            )
            found.append(_Choice(subject, ranked, ranking, posterior is not None))
    return found


def _tied(
    subject: str, pruned: Sequence[Candidate], picked: Sequence[Candidate]
) -> tuple[float, ...]:
    chosen = {one.pruning_rate for one in picked}
    scores = [one.scores[subject] for one in picked]
    tied = {
        one.pruning_rate
        for one in pruned
        if one.pruning_rate not in chosen
        and any(abs(one.scores[subject] - score) < TIE for score in scores)
    }
    return tuple(sorted(tied))


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
