"""Decision on the best pruning rate, from arms that share seeds and examples.

Unlike the exploratory decisions of the search stage, the intervals here cover new seeds as well
as new examples, every arm is trained to the end, and the chance of calling any rate better or
worse than p = 0 where none is stays below 5 % per benchmark, however many rates are compared and
however often the growing evidence is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from .interim import Detectable, detectable, holm, nominal_levels
from .intervals import ROUNDING
from .ranking import best_of, closest_rival, groups, probability_best, smallest_near_best
from .variance_components import (
    FEWEST_SEEDS,
    MOST_DF,
    Components,
    Difference,
    components,
    run_means,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .estimate import Estimate
    from .evidence import Arm, Array, ScoreTable

SIGNIFICANCE = 0.05


class ConfirmedVerdict(StrEnum):
    """The comparison of the confirmed rates with p = 0; `verdict_text` names them."""

    BETTER = "better than p = 0"
    WORSE = "worse than p = 0"
    NO_GAIN = "no gain over p = 0 that matters"
    DROPPED = "no rate is likely to be shown better than p = 0"
    CANNOT_TELL = "cannot tell from p = 0 yet"
    TOO_FEW = "not enough runs: a rate must share three seeds with p = 0"
    NO_BASELINE = "p = 0 has no run to compare with"
    NOTHING = "nothing to decide"


FOR_P_0 = (ConfirmedVerdict.WORSE, ConfirmedVerdict.NO_GAIN, ConfirmedVerdict.DROPPED)
"""Verdicts after which p = 0 is the answer, whatever else has the highest mean."""


@dataclass(frozen=True)
class Rule:
    """Rule of a decision, fixed before the first confirmation run.

    Attributes:
        looks: Numbers of seeds at which the evidence is looked at, ascending. One number is a
            plain test once that many seeds are in.
        margin: Smallest gain over p = 0 that matters, a fraction. Where all rates surely gain
            less, p = 0 is the answer; 0 leaves that answer out.
        num_candidates: Settings the arms were picked from *by their scores on these examples*;
            the test then counts them all. None where the examples are new, or all were confirmed.
    """

    looks: tuple[int, ...]
    margin: float = 0.0
    num_candidates: int | None = None


class DropReason(StrEnum):
    """The reason why an arm gets no more seeds."""

    WORSE = "worse than p = 0"
    """A claim: alpha was spent on it."""
    BEHIND = "unlikely to catch up"
    """Of being chosen before another rate there is hardly a chance; nothing is claimed."""
    FUTILE = "unlikely to be shown better"
    """Of being shown better than p = 0 there is hardly a chance; nothing is claimed."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """An arm that a confirmation has dropped before its last look.

    Attributes:
        arm: The arm.
        num_seeds: Seeds of the look at which it was dropped; it has no later ones here.
        reason: The reason.
        rival: What it was compared with: p = 0, its control, or the rate that leads.
        gap: Its mean less the rival's at that look, a fraction.
        chance: Predicted chance of what the reason calls unlikely; None where it is worse.
    """

    arm: Arm
    num_seeds: int
    reason: DropReason
    rival: Arm
    gap: float
    chance: float | None = None


@dataclass(frozen=True)
class ConfirmedRate:
    """One arm on one benchmark.

    Attributes:
        arm: The setting.
        mean: Its mean score, with the 95 % interval over new seeds and new examples.
        difference: To the best that p = 0 has; None for an arm with p = 0.
        own_difference: To its control; None where that was not trained, or is the best p = 0.
        adjusted_p_value: Of the difference, for all rates that are compared (Holm); of a gain over
            both, where there is a control.
        is_clear: True where the difference is significant at this look, for all rates together.
        probability_best: That this arm's true mean is the highest, given these runs.
        dropped: Where and why it was dropped; None where it was not.
    """

    arm: Arm
    mean: Estimate
    difference: Difference | None
    own_difference: Difference | None
    adjusted_p_value: float | None
    is_clear: bool
    probability_best: float
    dropped: Dropped | None = None


@dataclass(frozen=True)
class ConfirmedDecision:
    """The answer for one benchmark, or for ``mean``.

    Attributes:
        benchmark: Its name.
        verdict: The comparison with p = 0.
        rates: By pruning rate; empty where nothing can be said.
        controls: Other arms with p = 0, each with another setting that a rate was found with.
        best: The arm with the highest mean.
        recommended: The arm to use: of those proven better than p = 0 (of all, where none is) the
            smallest rate whose mean is within one standard error of the best one's.
        groups: Arms that cannot be distinguished, best first; an arm may be in several.
        unsettled: The pair of arms that is most worth telling apart, better first, if any.
        detectable: The gap between them that more seeds would show.
        num_seeds: Seeds that two or more arms share.
        num_examples: Examples, over all benchmarks of the mean.
        reasons: Reasons why there is nothing to decide; empty where there is (see `grounds`).
        remarks: Facts to know of single arms where there is.
    """

    benchmark: str
    verdict: ConfirmedVerdict
    rates: tuple[ConfirmedRate, ...] = ()
    controls: tuple[ConfirmedRate, ...] = ()
    best: Arm | None = None
    recommended: Arm | None = None
    groups: tuple[tuple[Arm, ...], ...] = ()
    unsettled: tuple[Arm, Arm] | None = None
    detectable: Detectable | None = None
    num_seeds: int = 0
    num_examples: int = 0
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_withheld(self) -> bool:
        """True where there is nothing to decide."""
        return self.verdict is ConfirmedVerdict.NOTHING

    def withheld(self, reasons: tuple[str, ...]) -> ConfirmedDecision:
        """The same scores without a decision; as it is where nothing can be said."""
        if not self.rates:
            return self
        return replace(
            self,
            verdict=ConfirmedVerdict.NOTHING,
            recommended=None,
            unsettled=None,
            detectable=None,
            reasons=reasons,
        )

    @property
    def used(self) -> ConfirmedRate | None:
        """The recommended arm's results; None where nothing can be said."""
        known = (*self.rates, *self.controls)
        return next((one for one in known if one.arm == self.recommended), None)


@dataclass(frozen=True, eq=False)
class Claims:
    """Evidence that the runs of a comparison give, by its rule.

    Attributes:
        arms: Those that can be compared, by pruning rate.
        baseline: Index of the best that p = 0 has.
        estimates: Means and what they vary by.
        differences: To p = 0, by index of the arms with p > 0.
        own_differences: To the arm's control, where that is another arm and was trained.
        p_values: Of a gain, or of a loss, by index of the arms with p > 0.
        family: Differences that count as tested.
        clear: Indices of those that are significant.
        verdict: The comparison of the rates with p = 0.
    """

    arms: tuple[Arm, ...]
    baseline: int
    estimates: Components
    differences: Mapping[int, Difference]
    own_differences: Mapping[int, Difference]
    p_values: Mapping[int, float]
    family: int
    clear: Collection[int]
    verdict: ConfirmedVerdict

    @property
    def better(self) -> list[int]:
        """Indices of the arms that are shown to be better than p = 0."""
        return [one for one in self.clear if self.differences[one].estimate.value > ROUNDING]


def claims_of(
    table: ScoreTable,
    subject: str,
    arms: Sequence[Arm],
    rule: Rule,
    dropped: Sequence[Dropped] = (),
) -> Claims | ConfirmedVerdict:
    """Test each rate of a comparison; return the reason alone where the runs are too few.

    Args:
        table: The runs; of a dropped arm those up to the look at which it was dropped.
        subject: A benchmark of the table, or ``mean``.
        arms: As for `decide`.
        rule: The rule, fixed in advance.
        dropped: Arms that are judged by an earlier look than the others.
    """
    table = table.restricted_to(arms)
    baseline = next((arm for arm in arms if arm.pruning_rate == 0), None)
    kept, parts = comparable(table, subject, baseline)
    if len(kept) < 2:
        return ConfirmedVerdict.TOO_FEW
    if baseline not in kept:
        return ConfirmedVerdict.NO_BASELINE
    present_AS = np.isfinite(run_means(parts))
    shared_A = (present_AS & present_AS[kept.index(baseline)]).sum(axis=1)
    is_pruned_A = np.array([arm.pruning_rate > 0 for arm in kept])
    if shared_A[is_pruned_A].max(initial=0) < FEWEST_SEEDS:
        return ConfirmedVerdict.TOO_FEW
    ends = {one.arm: one.num_seeds for one in dropped}
    num_seeds = [ends.get(arm, len(table.seeds)) for arm in kept]
    has_open = any(arm.pruning_rate > 0 and arm not in ends for arm in arms)
    return _claims(
        kept, kept.index(baseline), components(parts), num_seeds, rule, has_open=has_open
    )


def decide(
    table: ScoreTable,
    subject: str,
    arms: Sequence[Arm],
    rule: Rule,
    dropped: Sequence[Dropped] = (),
) -> ConfirmedDecision:
    """Decide for one benchmark, or for the mean over all.

    Args:
        table: All runs; of a dropped arm those up to the look at which it was dropped.
        subject: A benchmark of the table, or ``mean``.
        arms: Those of this benchmark and their controls; the first with p = 0 is the best
            that p = 0 has.
        rule: The rule, fixed in advance.
        dropped: Arms that were dropped, and so are not recommended.
    """
    found = claims_of(table, subject, arms, rule, dropped)
    if isinstance(found, ConfirmedVerdict):
        return ConfirmedDecision(subject, found)
    return _decide(subject, found, dropped)


def comparable(
    table: ScoreTable, subject: str, baseline: Arm | None
) -> tuple[tuple[Arm, ...], list[Array]]:
    """The arms, and the part of the table, that can be compared with p = 0.

    An arm is compared through the seeds it shares with others: those that share fewer than two
    with p = 0 (runs that failed) are left out, and so are seeds that only one arm has.

    Args:
        table: The runs.
        subject: A benchmark of the table, or ``mean``.
        baseline: The arm with p = 0.
    """
    parts = table.parts(subject)
    present_AS = np.isfinite(run_means(parts))
    if baseline is None or baseline not in table.arms:
        rows = np.flatnonzero(present_AS.sum(axis=1) >= 2)
    else:
        shared_A = (present_AS & present_AS[table.arms.index(baseline)]).sum(axis=1)
        rows = np.flatnonzero(shared_A >= 2)
    columns = np.flatnonzero(present_AS[rows].sum(axis=0) >= 2)
    kept = tuple(table.arms[row] for row in rows)
    return kept, [part[np.ix_(rows, columns)] for part in parts]


def _claims(
    arms: tuple[Arm, ...],
    baseline: int,
    found: Components,
    num_seeds: Sequence[int],
    rule: Rule,
    *,
    has_open: bool,
) -> Claims:
    pruned = [index for index, arm in enumerate(arms) if arm.pruning_rate > 0]
    differences = {index: found.difference(index, baseline) for index in pruned}
    named = {arm.name: index for index, arm in enumerate(arms)}
    controls = {index: named.get(arms[index].control or "") for index in pruned}
    own_differences = {
        index: found.difference(index, control)
        for index, control in controls.items()
        if control is not None and control != baseline
    }
    p_values = {
        index: 1.0
        if _lacks_control(arms[index], controls[index], differences[index])
        else _p_value(differences[index], own_differences.get(index))
        for index in pruned
    }
    family = max(len(pruned), rule.num_candidates or 0)
    passed = {index: sum(look <= num_seeds[index] for look in rule.looks) for index in pruned}
    clear = _clear(p_values, family, rule.looks, passed)
    verdict = _verdict(differences, clear, rule, passed)
    if verdict is ConfirmedVerdict.CANNOT_TELL and not has_open:
        verdict = ConfirmedVerdict.DROPPED
    return Claims(
        arms,
        baseline,
        found,
        differences,
        own_differences,
        p_values,
        family,
        clear,
        verdict,
    )


def recommended(claims: Claims, dropped: Sequence[Dropped] = ()) -> int:
    """Return the index of the arm to use, by what the runs show; never one that was dropped."""
    rates_A = [arm.pruning_rate for arm in claims.arms]
    if claims.verdict in FOR_P_0:
        unpruned = [index for index, rate in enumerate(rates_A) if rate == 0]
        return best_of(claims.estimates, rates_A, unpruned)
    gone = {one.arm for one in dropped}
    running = [index for index, arm in enumerate(claims.arms) if arm not in gone]
    return smallest_near_best(claims.estimates, rates_A, claims.better or running)


def _decide(subject: str, claims: Claims, dropped: Sequence[Dropped]) -> ConfirmedDecision:
    arms, found, verdict = claims.arms, claims.estimates, claims.verdict
    baseline, differences = claims.baseline, claims.differences
    unpruned = [index for index, arm in enumerate(arms) if arm.pruning_rate == 0]
    ends = {one.arm: one for one in dropped}
    adjusted = dict(zip(differences, holm([*claims.p_values.values()], claims.family), strict=True))
    chances = probability_best(found)
    rows = [
        ConfirmedRate(
            arm=arm,
            mean=found.mean(index),
            difference=differences.get(index),
            own_difference=claims.own_differences.get(index),
            adjusted_p_value=adjusted.get(index),
            is_clear=index in claims.clear,
            probability_best=float(chances[index]),
            dropped=ends.get(arm),
        )
        for index, arm in enumerate(arms)
    ]
    rates_A = [arm.pruning_rate for arm in arms]
    best = best_of(found, rates_A, range(len(arms)))
    pair = None
    if verdict not in FOR_P_0:
        running = [index for index, arm in enumerate(arms) if arm not in ends]
        first = best_of(found, rates_A, running)
        is_ahead = verdict is ConfirmedVerdict.CANNOT_TELL and arms[first].pruning_rate > 0
        rival = best_of(found, rates_A, unpruned)
        pair = (first, rival) if is_ahead else closest_rival(found, rates_A, first, running)
    return ConfirmedDecision(
        benchmark=subject,
        verdict=verdict,
        rates=tuple(row for index, row in enumerate(rows) if index in (baseline, *differences)),
        controls=tuple(rows[index] for index in unpruned if index != baseline),
        best=arms[best],
        recommended=arms[recommended(claims, dropped)],
        groups=tuple(tuple(arms[index] for index in group) for group in groups(found)),
        unsettled=None if pair is None else (arms[pair[0]], arms[pair[1]]),
        detectable=None
        if pair is None
        else detectable(found.difference(*pair), found.num_examples, SIGNIFICANCE / claims.family),
        num_seeds=int(found.num_seeds.max()),
        num_examples=found.num_examples,
    )


def _lacks_control(arm: Arm, control: int | None, difference: Difference) -> bool:
    """Return True where a gain may not be the rate's own: all runs of its control failed."""
    return arm.control is not None and control is None and difference.estimate.value > ROUNDING


def _p_value(difference: Difference, own: Difference | None) -> float:
    """Of "no difference to p = 0": a gain must be one over the arm's control too.

    Both must be shown, so that neither needs a correction for the other (intersection-union,
    Berger 1982), and the chance of a false gain can only fall.
    """
    if own is None or difference.estimate.value <= ROUNDING:
        return difference.p_value
    return max(difference.p_value, own.p_value) if own.estimate.value > ROUNDING else 1.0


def _clear(
    p_values: Mapping[int, float], family: int, looks: tuple[int, ...], passed: Mapping[int, int]
) -> set[int]:
    """Return which of ``family`` differences are significant at the last look passed.

    Holm's steps, each with the boundary of its own share of alpha (Ye, Li, Liu and Yao, Stat.
    Med. 32, 2013): as long as any difference passes the level of its own last look for as many as
    are left, it is clear, and one fewer is left (Maurer and Bretz, Stat. Biopharm. Res. 5, 2013).

    Args:
        p_values: By index of the arm.
        family: Differences that count as tested.
        looks: Numbers of seeds.
        passed: Looks that each has passed, its last one included.
    """
    clear: set[int] = set()
    while len(clear) < len(p_values):
        levels = nominal_levels(looks, SIGNIFICANCE / (family - len(clear)))
        more = {
            index
            for index, p_value in p_values.items()
            if index not in clear and passed[index] and p_value <= levels[passed[index] - 1]
        }
        if not more:
            break
        clear.add(min(more, key=p_values.__getitem__))
    return clear


def _verdict(
    differences: Mapping[int, Difference],
    clear: Collection[int],
    rule: Rule,
    passed: Mapping[int, int],
) -> ConfirmedVerdict:
    if any(differences[index].estimate.value > ROUNDING for index in clear):
        return ConfirmedVerdict.BETTER
    if len(clear) == len(differences):
        return ConfirmedVerdict.WORSE
    # All rates must be below the margin, so none of these tests needs a correction for the others
    # (intersection-union, Berger 1982); the looks do.
    if all(passed.values()) and rule.margin > 0:
        levels = nominal_levels(rule.looks, SIGNIFICANCE)
        highest = [_upper(one, levels[passed[index] - 1]) for index, one in differences.items()]
        if max(highest) < rule.margin:
            return ConfirmedVerdict.NO_GAIN
    return ConfirmedVerdict.CANNOT_TELL


def _upper(difference: Difference, level: float) -> float:
    quantile = -float(stdtrit(min(difference.degrees_of_freedom, MOST_DF), level / 2))
    return difference.estimate.value + quantile * difference.standard_error
