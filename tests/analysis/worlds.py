"""Worlds of known truth in which what a confirmation promises is tried.

A run answers an example correctly where the sum of the arm's level, what the seed does, how easy
the example is and noise is above 0. What a seed does is given in points of the score, by any
distribution over quantiles; the truth, over all seeds and all examples, is found by integration,
and the level is chosen so that it is as wished. Nothing here is taken from the package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from droplora_sweep.analysis.comparisons import Comparison
from droplora_sweep.analysis.confirmed import Claims, ConfirmedVerdict, Rule, claims_of, decide
from droplora_sweep.analysis.evidence import Arm, ScoreTable
from droplora_sweep.analysis.progress import Action, Budget, next_step
from droplora_sweep.analysis.racing.race import race
from droplora_sweep.analysis.variance_components import components

QUANTILES = (np.arange(4_000) + 0.5) / 4_000
HALVINGS = 40


def normal(shares):
    return norm.ppf(shares)


def heavy(shares):
    """t with 2 degrees of freedom: a mean, but no variance."""
    return student.ppf(shares, 2)


def collapsing(shares):
    """One seed in ten loses half of the score; the others differ as normal."""
    return np.where(shares < 0.1, -np.inf, norm.ppf((shares - 0.1).clip(1e-12) / 0.9))


@dataclass(frozen=True)
class World:
    """A world; spreads are in units of the noise unless they are points of the score.

    Attributes:
        truths: True mean score of each arm; the first has p = 0.
        seed_points: Spread of what a seed does to one arm, in points of the score, by arm.
        shared_points: Spread of what a seed does to every arm, in points.
        tails: Distribution of what a seed does to an arm, by quantiles.
        num_seeds: Seeds of the first look.
        looks: Looks; the first alone where empty.
        num_examples: Examples of each benchmark.
        num_benchmarks: Benchmarks, decided on their mean; a seed does the same to all of them.
        example: Spread of the examples' difficulty.
        arm_example: Spread of what an arm does to one example.
        margin: Smallest gain that matters.
    """

    truths: tuple[float, ...] = (0.6,) * 4
    seed_points: tuple[float, ...] = (1.5,) * 4
    shared_points: float = 0.0
    tails: object = normal
    num_seeds: int = 3
    looks: tuple[int, ...] = ()
    num_examples: int = 200
    num_benchmarks: int = 1
    example: float = 1.8
    arm_example: float = 0.3
    margin: float = 0.01

    @property
    def arms(self):
        return tuple(Arm(f"t{index:04d}", index / 10) for index in range(len(self.truths)))

    @property
    def all_looks(self):
        return self.looks or (self.num_seeds,)

    @property
    def rest(self):
        """Spread of all but what a seed does to one arm."""
        per_point = self.points_to_units(max(self.truths))
        shared = self.shared_points * per_point
        return np.sqrt(1 + self.example**2 + self.arm_example**2 + shared**2)

    def points_to_units(self, truth):
        spread = np.sqrt(1 + self.example**2 + self.arm_example**2)
        return 0.01 * spread / norm.pdf(norm.ppf(truth))

    def effects(self, arm, shares):
        return self.seed_points[arm] * self.points_to_units(self.truths[arm]) * self.tails(shares)

    def mean_score(self, arm, level):
        """The arm's true mean score, over all seeds."""
        units = self.points_to_units(self.truths[arm])
        effects_Q = self.seed_points[arm] * units * _at_quantiles(self.tails)
        half = 0.5 * norm.cdf(level / self.rest)
        lost = np.isneginf(effects_Q)
        scores_Q = norm.cdf((level + np.where(lost, 0, effects_Q)) / self.rest)
        return float(np.where(lost, half, scores_Q).mean())

    def scores(self, generator):
        """Scores of every seed of the last look: one array (arms, seeds, examples) a benchmark."""
        num_arms, num_seeds = len(self.truths), self.all_looks[-1]
        draw = generator.standard_normal
        shares_AS = generator.random((num_arms, num_seeds))
        effects_AS = np.array([self.effects(arm, shares_AS[arm]) for arm in range(num_arms)])
        lost_AS = np.isneginf(effects_AS)
        levels_A = np.array([_level(self, arm) for arm in range(num_arms)])
        shared_S = self.shared_points * self.points_to_units(max(self.truths)) * draw(num_seeds)
        runs_AS = levels_A[:, None] + np.where(lost_AS, 0, effects_AS) + shared_S
        parts = []
        for _ in range(self.num_benchmarks):
            shape = (num_arms, num_seeds, self.num_examples)
            easy_AE = self.example * draw(self.num_examples)
            easy_AE = easy_AE + self.arm_example * draw((num_arms, self.num_examples))
            right_ASE = runs_AS[:, :, None] + easy_AE[:, None, :] + draw(shape) > 0
            kept_ASE = ~lost_AS[:, :, None] | (generator.random(shape) < 0.5)
            parts.append((right_ASE & kept_ASE).astype(np.float64))
        return parts


@cache
def _at_quantiles(tails):
    return tails(QUANTILES)


@lru_cache(maxsize=256)
def _level(world, arm):
    low, high = -60.0, 60.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if world.mean_score(arm, middle) < world.truths[arm]:
            low = middle
        else:
            high = middle
    return high


WORLDS = {
    "equal": World(),
    "equal, seeds matter little": World(seed_points=(0.3,) * 4),
    "equal, seeds matter most": World(seed_points=(4.0,) * 4, num_examples=1000),
    "one rate better": World(truths=(0.6, 0.6, 0.64, 0.6)),
    "gain of the margin": World(
        truths=(0.6, 0.6, 0.61, 0.6), seed_points=(0.3,) * 4, num_examples=4000
    ),
    "6 points at one rate": World(seed_points=(0.5, 6.0, 0.5, 0.5)),
    "6 points at one rate, many examples": World(
        seed_points=(0.5, 6.0, 0.5, 0.5), num_examples=2000
    ),
    "6 points at p = 0": World(seed_points=(6.0, 0.5, 0.5, 0.5)),
    "6 points at p = 0, each rate better at other examples": World(
        seed_points=(6.0, 0.5, 0.5, 0.5), num_examples=800, arm_example=1.0
    ),
    "3 points against 1": World(seed_points=(3.0, 1.0, 1.0, 1.0)),
    "3 points against 1, five seeds": World(seed_points=(3.0, 1.0, 1.0, 1.0), num_seeds=5),
    "two arms": World(truths=(0.6,) * 2, seed_points=(1.5,) * 2),
    "two arms, seeds matter most": World(truths=(0.6,) * 2, seed_points=(6.0,) * 2),
    "two arms, 3 points against 1": World(truths=(0.6,) * 2, seed_points=(3.0, 1.0)),
    "two arms, shared seeds": World(truths=(0.6,) * 2, seed_points=(1.5,) * 2, shared_points=4.0),
    "shared seeds": World(shared_points=3.0),
    "t2 tails": World(tails=heavy),
    "collapsing seeds": World(tails=collapsing),
    "ceiling": World(truths=(0.99,) * 4, seed_points=(0.3,) * 4),
    "ceiling, one rate worse": World(truths=(0.99, 0.96, 0.99, 0.99), seed_points=(0.3,) * 4),
    "floor": World(truths=(0.02,) * 4, seed_points=(0.5,) * 4),
    "20 examples": World(num_examples=20),
    "20 examples, ceiling": World(truths=(0.97,) * 4, seed_points=(0.5,) * 4, num_examples=20),
    "20 examples, two arms": World(truths=(0.6,) * 2, seed_points=(1.5,) * 2, num_examples=20),
    "correlated benchmarks": World(num_benchmarks=4, num_examples=100, seed_points=(3.0,) * 4),
    "correlated benchmarks, 6 points at one rate": World(
        num_benchmarks=4, num_examples=100, seed_points=(0.5, 6.0, 0.5, 0.5)
    ),
    "interim looks": World(looks=(3, 5, 8, 12)),
    "interim looks, 6 points at one rate": World(
        looks=(3, 5, 8, 12), seed_points=(0.5, 6.0, 0.5, 0.5)
    ),
    "interim looks, t2 tails": World(looks=(3, 5, 8, 12), tails=heavy),
    "interim looks, two arms": World(
        truths=(0.6,) * 2, seed_points=(3.0,) * 2, looks=(3, 5, 8, 12)
    ),
}


@dataclass(frozen=True)
class Tried:
    """Results of many sweeps in one world.

    Attributes:
        covered: Share of the intervals of differences to p = 0 that hold it: at the first look, of
            a race at its end.
        means_covered: The same of the arms' means.
        false_claims: Share of sweeps that say something untrue of any rate.
        half_width: Mean half width of the intervals of differences, in points.
        num_sweeps: Sweeps that were simulated.
        num_runs: Runs of a race on average; None without one.
    """

    covered: float
    means_covered: float
    false_claims: float
    half_width: float
    num_sweeps: int
    num_runs: float | None = None


def try_world(world, num_sweeps, seed=0):
    """Simulate sweeps, and count what their decisions say."""
    generator = np.random.default_rng(seed)
    covered, means_covered, widths, claims = [], [], [], []
    gaps_A = np.array(world.truths) - world.truths[0]
    for _ in range(num_sweeps):
        parts = world.scores(generator)
        found = components([part[:, : world.all_looks[0]] for part in parts])
        for arm, truth in enumerate(world.truths):
            mean = found.mean(arm)
            means_covered.append(mean.low <= truth <= mean.high)
            if arm:
                estimate = found.difference(arm, 0).estimate
                covered.append(estimate.low <= gaps_A[arm] <= estimate.high)
                widths.append((estimate.high - estimate.low) / 2)
        claims.append(is_false(decided(world, parts), gaps_A, world.margin))
    return Tried(
        float(np.mean(covered)),
        float(np.mean(means_covered)),
        float(np.mean(claims)),
        100 * float(np.mean(widths)),
        num_sweeps,
    )


def decided(world, parts):
    """The decision that a confirmation of this world ends with."""
    subject = subject_of(parts)
    if len(world.all_looks) == 1:
        rule = Rule(world.all_looks, margin=world.margin)
        return decide(first_seeds(world, parts, world.num_seeds), subject, world.arms, rule)
    comparison = Comparison(subject, world.arms, num_candidates=20)
    seeds = tuple(range(world.all_looks[-1]))
    budget = Budget(seeds, world.all_looks, margin=world.margin)
    step = next_step(None, [comparison], budget)
    while step.action is Action.ADD_SEEDS:
        table = first_seeds(world, parts, step.seeds[-1] + 1)
        step = next_step(table, [comparison], budget)
    [decision] = step.decisions
    return decision


def subject_of(parts):
    return "mean" if len(parts) > 1 else "task0"


def first_seeds(world, parts, num_seeds):
    scores = {f"task{index}": part[:, :num_seeds] for index, part in enumerate(parts)}
    return ScoreTable(world.arms, tuple(range(num_seeds)), scores)


def is_false(decision, gaps_A, margin):
    """Return whether a decision calls a rate better, worse or no gain that is not."""
    if decision.verdict is ConfirmedVerdict.NO_GAIN and gaps_A.max() >= margin - 1e-9:
        return True
    for rate in decision.rates:
        if rate.is_clear:
            gap = gaps_A[round(10 * rate.arm.pruning_rate)]
            if gap * rate.difference.estimate.value <= 0:
                return True
    return False


LOOKS = (3, 5, 8, 12)


@dataclass(frozen=True)
class Raced:
    """One sweep's race.

    Attributes:
        claims: What its runs show at its end.
        dropped: The arms that were dropped.
        num_runs: Runs that it took.
        num_looks: Looks, one after the other: what it takes where groups are many.
    """

    claims: Claims
    dropped: tuple
    num_runs: int
    num_looks: int


def raced(world, parts):
    """The race of a confirmation of this world, from its first look to its end."""
    comparison = Comparison(subject_of(parts), world.arms, num_candidates=20)
    rule = Rule(world.all_looks, margin=world.margin)
    last = world.all_looks[-1]
    table = first_seeds(world, parts, last)
    found = race(table, comparison, rule, range(last), last)
    claims = claims_of(found.table, comparison.subject, world.arms, rule, found.dropped)
    num_seeds = found.num_seeds.values()
    num_looks = 1 + world.all_looks.index(max(num_seeds))
    return Raced(claims, found.dropped, sum(num_seeds), num_looks)


def claims_something_false(claims, gaps_A, margin):
    """The same of claims, by index of the arm."""
    if claims.verdict is ConfirmedVerdict.NO_GAIN and gaps_A.max() >= margin - 1e-9:
        return True
    return any(gaps_A[one] * claims.differences[one].estimate.value <= 0 for one in claims.clear)


def try_race(world, num_sweeps, seed=0):
    """Simulate sweeps that race; intervals are those at the end, of dropped arms as they were."""
    world = replace(world, looks=LOOKS)
    generator = np.random.default_rng(seed)
    covered, means_covered, widths, claims, runs = [], [], [], [], []
    gaps_A = np.array(world.truths) - world.truths[0]
    for _ in range(num_sweeps):
        one = raced(world, world.scores(generator))
        for arm, truth in enumerate(world.truths):
            mean = one.claims.estimates.mean(arm)
            means_covered.append(mean.low <= truth <= mean.high)
            if arm:
                estimate = one.claims.differences[arm].estimate
                covered.append(estimate.low <= gaps_A[arm] <= estimate.high)
                widths.append((estimate.high - estimate.low) / 2)
        claims.append(claims_something_false(one.claims, gaps_A, world.margin))
        runs.append(one.num_runs)
    return Tried(
        float(np.mean(covered)),
        float(np.mean(means_covered)),
        float(np.mean(claims)),
        100 * float(np.mean(widths)),
        num_sweeps,
        float(np.mean(runs)),
    )
