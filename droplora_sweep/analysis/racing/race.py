"""A race of arms: later seeds go only to those that can still be chosen.

At each look but the last an arm with p > 0 is dropped for one of two kinds of reasons:

* It is shown to be worse than p = 0. That is a claim, by the test that ends comparisons too: alpha
  is spent over looks (`interim.nominal_levels`) and arms (Holm's steps, `confirmed.claims_of`).
* Its chance of still being chosen is below `LEAST_CHANCE`: of being shown better than p = 0 (and
  than its control) at the last look, or of not being behind the rate that leads, by the rule that
  chooses (`ranking.smallest_near_best`). Nothing is claimed of it. This is futility as multi-arm
  multi-stage trials have it (Royston, Parmar and Qian, Stat. Med. 22, 2003; Magirr, Jaki and
  Whitehead, Biometrika 99, 2012), non-binding: the levels of tests are those without it, and who
  ends earlier rejects less, so it cannot make a false claim likelier. It can only lose a gain that
  the last look would have shown, which the predicted chance bounds.

An arm that was dropped keeps the runs that it had and the level of the look at which it was
dropped: judged by a later look's level, its few runs would pass too easily. p = 0 is never
dropped, and the control of an arm runs as long as the arm. Races of this kind are Maron and
Moore's (Advances in Neural Information Processing Systems 6, 1994), with t tests for Hoeffding's
bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.analysis.confirmed import (
    SIGNIFICANCE,
    Claims,
    ConfirmedVerdict,
    Dropped,
    DropReason,
    claims_of,
)
from droplora_sweep.analysis.evidence import ScoreTable
from droplora_sweep.analysis.interim import nominal_levels

from .chances import chance_of_lead, chance_of_significance

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from droplora_sweep.analysis.comparisons import Comparison
    from droplora_sweep.analysis.confirmed import Rule
    from droplora_sweep.analysis.evidence import Arm

LEAST_CHANCE = 0.05
"""An arm is dropped where its predicted chance of still being chosen is below this: of the arms
that are dropped so, fewer than one in twenty would have been chosen with all seeds."""


@dataclass(frozen=True, eq=False)
class Race:
    """One comparison after a look.

    Attributes:
        table: Its runs; of an arm that was dropped those up to that look.
        num_seeds: Seeds of each arm, by the last look that it took part in.
        dropped: Arms that were dropped so far.
        open_arms: Arms that get the next look's seeds; empty where it is over.
    """

    table: ScoreTable
    num_seeds: Mapping[Arm, int]
    dropped: tuple[Dropped, ...]
    open_arms: tuple[Arm, ...]


def race(
    table: ScoreTable,
    comparison: Comparison,
    rule: Rule,
    seeds: Sequence[int],
    num_used: int,
) -> Race:
    """Run a comparison from its first look to the last one that has its runs. Pure.

    Args:
        table: The runs so far; what an arm has beyond its last look is not read.
        comparison: The arms.
        rule: Looks, margin and number of candidates.
        seeds: In the order in which they are used.
        num_used: Seeds of the last look.
    """
    assert num_used >= rule.looks[0], "a race begins with the first look"
    dropped: tuple[Dropped, ...] = ()
    running = comparison.arms
    for look in rule.looks:
        if look > num_used or len(running) < 2:
            break
        num_seeds = {**_ends(comparison.arms, dropped), **dict.fromkeys(running, look)}
        seen = _seen(table, seeds[:look], num_seeds)
        found = claims_of(seen, comparison.subject, comparison.arms, rule, dropped)
        if isinstance(found, Claims):
            if found.verdict is not ConfirmedVerdict.CANNOT_TELL:
                running = ()
            elif look < rule.looks[-1]:
                dropped += _newly_dropped(found, dropped, rule, look)
                running = _running(comparison.arms, dropped)
    is_open = len(running) > 1 and num_used < rule.looks[-1]
    return Race(seen, num_seeds, dropped, running if is_open else ())


def _running(arms: Sequence[Arm], dropped: Sequence[Dropped]) -> tuple[Arm, ...]:
    """Return p = 0, the rates that are left, and their controls."""
    gone = {one.arm for one in dropped}
    rates = [arm for arm in arms if arm.pruning_rate > 0 and arm not in gone]
    controls = {arm.control for arm in rates}
    return tuple(arm for arm in arms if arm in rates or arm == arms[0] or arm.name in controls)


def _ends(arms: Sequence[Arm], dropped: Sequence[Dropped]) -> Mapping[Arm, int]:
    """Return the seeds of the arms that have stopped: the dropped, and controls of these alone."""
    ends = {one.arm: one.num_seeds for one in dropped}
    running = _running(arms, dropped)
    for arm in arms:
        if arm not in running and arm not in ends:
            ends[arm] = max(
                (one.num_seeds for one in dropped if one.arm.control == arm.name), default=0
            )
    return ends


def _seen(table: ScoreTable, seeds: Sequence[int], num_seeds: Mapping[Arm, int]) -> ScoreTable:
    """Return the runs of these seeds, of each arm its first ones alone."""
    table = table.restricted_to([*num_seeds])
    columns = [column for column, seed in enumerate(table.seeds) if seed in seeds]
    used = tuple(table.seeds[column] for column in columns)
    place_S = np.array([seeds.index(seed) for seed in used])
    end_A = np.array([num_seeds[arm] for arm in table.arms])
    is_seen_AS = place_S[None, :] < end_A[:, None]
    scores = {
        name: np.where(is_seen_AS[:, :, None], scores_ASE[:, columns], np.nan)
        for name, scores_ASE in table.scores.items()
    }
    return ScoreTable(table.arms, used, scores)


def _newly_dropped(
    found: Claims, dropped: Sequence[Dropped], rule: Rule, look: int
) -> tuple[Dropped, ...]:
    gone = {one.arm for one in dropped}
    running = [index for index in found.differences if found.arms[index] not in gone]
    if not running:
        return ()
    leader = max(running, key=lambda index: found.differences[index].estimate.value)
    chosen = (_dropped(found, index, leader, rule, look) for index in running)
    return tuple(one for one in chosen if one is not None)


def _dropped(found: Claims, index: int, leader: int, rule: Rule, look: int) -> Dropped | None:
    """Return why an arm is dropped; None where it is not. Where both hold, it is the rarer."""
    arm, last = found.arms[index], rule.looks[-1]
    plain = found.differences[index]
    if index in found.clear:
        baseline = found.arms[found.baseline]
        return Dropped(
            arm=arm,
            num_seeds=look,
            reason=DropReason.WORSE,
            rival=baseline,
            gap=plain.estimate.value,
        )
    level = nominal_levels(rule.looks, SIGNIFICANCE / _num_left(found.family, found.clear))[-1]
    to_beat = [(DropReason.FUTILE, found.arms[found.baseline], plain)]
    if (own := found.own_differences.get(index)) is not None:
        control = next(one for one in found.arms if one.name == arm.control)
        to_beat.append((DropReason.FUTILE, control, own))
    chances = [
        (chance_of_significance(one, last, level), reason, rival, one)
        for reason, rival, one in to_beat
    ]
    if index != leader:
        behind = found.estimates.difference(index, leader)
        # The smaller of two rates is chosen unless it is more than one standard error behind.
        errors = 1.0 if arm.pruning_rate > found.arms[leader].pruning_rate else -1.0
        chance = chance_of_lead(behind, last, errors)
        chances.append((chance, DropReason.BEHIND, found.arms[leader], behind))
    chance, reason, rival, difference = min(chances, key=lambda one: one[0])
    if chance >= LEAST_CHANCE:
        return None
    return Dropped(
        arm=arm,
        num_seeds=look,
        reason=reason,
        rival=rival,
        gap=difference.estimate.value,
        chance=chance,
    )


def _num_left(family: int, clear: Collection[int]) -> int:
    return max(1, family - len(clear))
