"""Progress of a confirmation: the runs needed next, more seeds, or the end; pure functions.

Looks, and what ends a comparison, are fixed before the first run, so that looking often does not
make a false claim likelier (see `interim`). Stopping what more seeds will not settle cannot raise
the chance of a false claim either: single arms by `racing.race`, or, as confirmations of earlier
versions began, whole comparisons.

It is worked out anew from the runs that have ended, from the first look on. So it is the same after
a crash as before, and no run that is there is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from droplora_sweep.spec.metric_names import MEAN

from .comparisons import Comparison
from .confirmed import SIGNIFICANCE, ConfirmedDecision, ConfirmedVerdict, Rule, claims_of, decide
from .evidence import Run, tabulate
from .interim import nominal_levels, power
from .racing.race import race

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .comparisons import Comparison
    from .confirmed import Claims, ConfirmedDecision
    from .evidence import Arm, Scores, ScoreTable
    from .variance_components import Difference

    Runs: TypeAlias = "Mapping[tuple[str, int], Scores]"


LEAST_POWER = 0.2
"""A comparison is given up when the last look would settle it less often than this."""


class Action(StrEnum):
    """The next action."""

    ADD_SEEDS = "train these arms with these seeds"
    STOP_DECIDED = "stop: every benchmark is decided"
    STOP_BUDGET = "stop: the budget is spent"
    STOP_FUTILE = "stop: the seeds left would not settle what is open"
    STOP_HOURS = "stop: the GPU hours are spent (`confirm.gpu_hours`)"


@dataclass(frozen=True)
class Budget:
    """Limits of a confirmation.

    Attributes:
        seeds: Seeds in the order in which they are used; all arms share them.
        looks: Numbers of seeds at which the evidence is looked at, ascending.
        max_runs: Runs (arms x seeds) in all; None for as many as ``seeds`` allow.
        margin: Smallest gain over p = 0 that matters, a fraction.
        new_examples: True where the examples had no part in picking the arms. If they had, all
            candidates of the search count as tested.
        races: True to drop single arms between looks; False to give up whole comparisons alone.
    """

    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    max_runs: int | None = None
    margin: float = 0.01
    new_examples: bool = True
    races: bool = False

    def __post_init__(self) -> None:
        """Check what the caller has made sure of."""
        assert len(set(self.seeds)) == len(self.seeds), "a seed is used once"
        assert self.looks, "there is a look"
        assert self.looks[0] >= 2, "one seed tells nothing of seeds"
        assert sorted(set(self.looks)) == list(self.looks), "looks are ascending"
        assert self.looks[-1] <= len(self.seeds), "there are seeds for every look"


@dataclass(frozen=True)
class Step:
    """The next action, and the decisions so far.

    Attributes:
        action: Train, or stop and why.
        seeds: Seeds to train; empty to stop.
        arms: Arms to train with each of them: those that are open in any comparison.
        decisions: One per comparison, as of now.
    """

    action: Action
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    decisions: tuple[ConfirmedDecision, ...]


def next_step(table: ScoreTable | None, comparisons: Sequence[Comparison], budget: Budget) -> Step:
    """Decide each comparison on the runs so far, and what is to be trained next.

    Args:
        table: The runs so far; None before the first. Failed runs may be missing from it.
        comparisons: The arms of each benchmark; empty where no trial with p > 0 is complete.
        budget: Seeds, looks and cost.
    """
    if not comparisons:
        return Step(Action.STOP_DECIDED, (), (), ())
    if table is None:
        return _add(0, 0, [arm for one in comparisons for arm in one.arms], (), budget)
    num_used = max(budget.seeds.index(seed) + 1 for seed in table.seeds)
    look = _raced if budget.races else _compared
    results = [look(table, comparison, budget, num_used) for comparison in comparisons]
    decisions = tuple(one.decision for one in results)
    if not any(map(is_undecided, decisions)):
        return Step(Action.STOP_DECIDED, (), (), decisions)
    if num_used >= budget.looks[-1]:
        return Step(Action.STOP_BUDGET, (), (), decisions)
    arms = [arm for one in results for arm in one.open_arms]
    if not arms:
        return Step(Action.STOP_FUTILE, (), (), decisions)
    num_seeds: dict[Arm, int] = {}
    for one in results:
        for arm, count in one.num_seeds.items():
            num_seeds[arm] = max(count, num_seeds.get(arm, 0))
    return _add(num_used, sum(num_seeds.values()), arms, decisions, budget)


@dataclass(frozen=True)
class _Result:
    """One comparison after a look: its decision, its arms' seeds, and the arms to train further."""

    decision: ConfirmedDecision
    num_seeds: Mapping[Arm, int]
    open_arms: tuple[Arm, ...]


def _raced(table: ScoreTable, comparison: Comparison, budget: Budget, num_used: int) -> _Result:
    by = rule(comparison, budget)
    found = race(table, comparison, by, budget.seeds, num_used)
    decision = decide(found.table, comparison.subject, comparison.arms, by, found.dropped)
    return _Result(decision, found.num_seeds, found.open_arms)


def _compared(table: ScoreTable, comparison: Comparison, budget: Budget, num_used: int) -> _Result:
    by = rule(comparison, budget)
    decision = decide(table, comparison.subject, comparison.arms, by)
    claims = claims_of(table, comparison.subject, comparison.arms, by)
    is_open = is_undecided(decision) and not is_futile(claims, by)
    num_seeds = dict.fromkeys(comparison.arms, num_used)
    return _Result(decision, num_seeds, comparison.arms if is_open else ())


def rule(comparison: Comparison, budget: Budget) -> Rule:
    """Return the rule by which a comparison is decided within a budget."""
    num_candidates = None if budget.new_examples else comparison.num_candidates
    return Rule(looks=budget.looks, margin=budget.margin, num_candidates=num_candidates)


def is_undecided(decision: ConfirmedDecision) -> bool:
    """Return True where more runs could still change the answer."""
    return decision.verdict in (
        ConfirmedVerdict.CANNOT_TELL,
        ConfirmedVerdict.TOO_FEW,
        ConfirmedVerdict.NO_BASELINE,
    )


def _add(
    num_used: int,
    num_runs: int,
    wanted: Sequence[Arm],
    decisions: tuple[ConfirmedDecision, ...],
    budget: Budget,
) -> Step:
    look = next(look for look in budget.looks if look > num_used)
    arms = tuple(dict.fromkeys(wanted))
    if budget.max_runs is not None and num_runs + len(arms) * (look - num_used) > budget.max_runs:
        return Step(Action.STOP_BUDGET, (), (), decisions)
    return Step(Action.ADD_SEEDS, budget.seeds[num_used:look], arms, decisions)


def is_futile(claims: Claims | ConfirmedVerdict, rule: Rule) -> bool:
    """Return True where the last look is unlikely to find a gain, or to rule one out.

    The chance is taken at a difference one standard error above what was found, so that a poor
    start does not end a comparison that is worth its seeds.
    """
    if isinstance(claims, ConfirmedVerdict) or claims.verdict is not ConfirmedVerdict.CANNOT_TELL:
        return False
    last = rule.looks[-1]

    def chance(gap: float, difference: Difference, level: float) -> float:
        return power(difference, last, gap + difference.standard_error, level)

    level = nominal_levels(rule.looks, SIGNIFICANCE / claims.family)[-1]
    for index, to_p_0 in claims.differences.items():
        own = claims.own_differences.get(index)
        to_beat = [to_p_0] if own is None else [to_p_0, own]
        if min(chance(one.estimate.value, one, level) for one in to_beat) >= LEAST_POWER:
            return False
    level = nominal_levels(rule.looks, SIGNIFICANCE)[-1]
    return rule.margin == 0 or any(
        chance(rule.margin - one.estimate.value, one, level) < LEAST_POWER
        for one in claims.differences.values()
    )


@dataclass(frozen=True)
class ConfirmationProgress:
    """Progress of a confirmation.

    Attributes:
        step: The next action, and the decisions of the last look whose runs have all ended.
        needed: Every run of the looks so far and of the one that is next: arm and seed.
        missing: Those of them that have not ended; empty where the stage is over.
        looked_at: Those of the looks whose runs have all ended, which the decisions rest on.
    """

    step: Step
    needed: tuple[tuple[Arm, int], ...]
    missing: tuple[tuple[Arm, int], ...]
    looked_at: tuple[tuple[Arm, int], ...]

    @property
    def decisions(self) -> tuple[ConfirmedDecision, ...]:
        """One per comparison; empty before the first look."""
        return self.step.decisions

    @property
    def has_begun_look(self) -> bool:
        """True where a run of the look that is next has ended."""
        return len(self.missing) < len(self.needed) - len(self.looked_at)

    @property
    def is_held(self) -> bool:
        """True where it stops before its end, and would continue with more GPU hours."""
        return self.step.action is Action.STOP_HOURS

    def held(self) -> ConfirmationProgress:
        """The same, stopped before the next look."""
        step = Step(Action.STOP_HOURS, (), (), self.decisions)
        return ConfirmationProgress(step, self.looked_at, (), self.looked_at)


def progress_of(
    comparisons: Sequence[Comparison], budget: Budget, runs: Runs
) -> ConfirmationProgress:
    """Go from look to look, as far as the runs lead.

    Args:
        comparisons: The arms of each benchmark.
        budget: Seeds, looks and cost.
        runs: Scores by arm's name and seed of every run that has ended; {} of one that failed.
    """
    table: ScoreTable | None = None
    needed: list[tuple[Arm, int]] = []
    while True:
        step = next_step(table, comparisons, budget)
        looked_at = tuple(needed)
        if step.action is not Action.ADD_SEEDS:
            return ConfirmationProgress(step, looked_at, (), looked_at)
        needed += [(arm, seed) for seed in step.seeds for arm in step.arms]
        missing = tuple((arm, seed) for arm, seed in needed if (arm.name, seed) not in runs)
        if missing:
            return ConfirmationProgress(step, tuple(needed), missing, looked_at)
        table = _table(comparisons, needed, runs)


def arms_to_test(
    comparisons: Sequence[Comparison], decisions: Sequence[ConfirmedDecision], names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the arms to score on the test split: the recommended ones and their p = 0.

    Args:
        comparisons: The arms of each benchmark.
        decisions: At most one per comparison: none before the first look.
        names: Every benchmark that has test examples, those included that are tested alone: the
            winner of the mean, or of the only other one, is scored on these.

    Returns:
        Benchmarks to score by arm's name; empty where nothing was decided.
    """
    asked = [comparison.subject for comparison in comparisons]
    alone = [name for name in names if name not in asked]
    baselines = {comparison.subject: comparison.baseline for comparison in comparisons}
    found: dict[str, dict[str, None]] = {}
    for decision in decisions:
        if decision.recommended is None:
            continue
        subject = decision.benchmark
        is_overall = subject == MEAN or len(asked) == 1
        own = names if subject == MEAN else [name for name in names if name == subject]
        scored = [*own, *(alone if is_overall else [])]
        for arm in (decision.recommended, baselines[subject]):
            found.setdefault(arm.name, {}).update(dict.fromkeys(scored))
    return {arm: tuple(scored) for arm, scored in found.items() if scored}


def _table(
    comparisons: Sequence[Comparison], needed: Sequence[tuple[Arm, int]], runs: Runs
) -> ScoreTable:
    benchmarks = {comparison.subject for comparison in comparisons} - {MEAN}
    empty: Scores = {name: {} for name in sorted(benchmarks)}
    return tabulate(
        Run(arm, seed, {name: runs[arm.name, seed].get(name, {}) for name in empty})
        for arm, seed in needed
    )
