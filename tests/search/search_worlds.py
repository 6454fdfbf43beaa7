"""Searches in worlds of known truth: is the best pruning rate among the finalists?

``python -m tests.search.search_worlds [NUM [SAMPLERS [FILE [WORLD…]]]]`` prints the guide's table.
With a FILE, finished searches are kept there and not made again: an interruption loses nothing. It
knows nothing of the code that made them, so a change to a sampler or a world needs a new one.

A trial is scored on the world's validation examples, each right or wrong: a latent sum of the
setting's true skill, what its seed does, the example's difficulty (the same for all trials), and
chance. So trials are paired by examples, as real ones are.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from scipy.stats import norm

from droplora_sweep.search.decide import SearchState, next_setting
from droplora_sweep.search.proposal import draw_all
from droplora_sweep.search.samplers import make_sampler
from droplora_sweep.spec import DecideSpec, SweepSpec, baselines
from droplora_sweep.surrogate.chances import chances_to_be_best
from droplora_sweep.surrogate.coordinates import coordinates_of
from droplora_sweep.surrogate.observed import ObservedTrial, observations
from droplora_sweep.surrogate.process import fit

if TYPE_CHECKING:
    from collections.abc import Callable

RATE, LR, RANK, METHOD = (
    "adapter.pruning_rate",
    "training.learning_rate",
    "adapter.rank",
    "adapter.method",
)
SPACE = {
    RANK: {"values": [4, 8, 16, 32]},
    "adapter.alpha": {"values": [1, 2], "ratio_of": RANK},
    RATE: {"min": 0.0, "max": 0.8, "step": 0.2},
    LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
}
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
NUM_TRIALS = 24
DIFFICULTY = 1.8
"""Spread of the examples' difficulty, in units of the chance in one answer."""


@dataclass(frozen=True)
class World:
    """A task: true mean score of each setting, and its noise.

    Attributes:
        gain: Points over the base that a setting brings, given rate, position of the learning rate
            in [0, 1], position of the rank, alpha's ratio and method.
        seed: Standard deviation in points that another seed brings, given the rate.
        tail: Degrees of freedom of the seed's t distribution; None for a normal one.
        collapses: Share of the trials that lose 30 points.
        num_examples: Validation examples.
        space: Domains beside those of every world.
    """

    gain: Callable[[float, float, float, float, str], float]
    seed: Callable[[float], float] = lambda rate: 0.5
    tail: int | None = None
    collapses: float = 0.0
    num_examples: int = 1500
    space: Any = None

    def sweep(self, sampler: str, seed: int) -> SweepSpec:
        space = SPACE | (self.space or {})
        search = {
            "num_trials": NUM_TRIALS,
            "stopping": "none",
            "sampler": sampler,
            "parameters": space,
        }
        return SweepSpec.model_validate({"name": "s", "seed": seed, "search": search})

    def truth(self, values: dict[str, Any]) -> float:
        """Expected score of a setting, in points."""
        low, high = 1e-4, 1e-2
        rate = math.log(values[LR] / low) / math.log(high / low)
        rank = math.log2(values[RANK] / 4) / 3
        method = str(values.get(METHOD, "droplora"))
        return 60 + self.gain(values[RATE], rate, rank, values["adapter.alpha"], method)

    def score(self, values: dict[str, Any], hard_E: Any, generator: Any) -> Any:
        """Right or wrong on each example."""
        noise = (
            generator.standard_normal()
            if self.tail is None
            else generator.standard_t(self.tail) / math.sqrt(self.tail / (self.tail - 2))
        )
        points = self.truth(values) + self.seed(values[RATE]) * noise
        points -= 30 * (generator.random() < self.collapses)
        spread = math.sqrt(1 + DIFFICULTY**2)
        skill = norm.ppf(np.clip(points / 100, 0.01, 0.99)) * spread
        return (skill > hard_E + generator.standard_normal(len(hard_E))).astype(float)

    def best_of(self, rate: float) -> float:
        """The best that a rate has to offer, in points."""
        methods = (self.space or {}).get(METHOD, {}).get("values", ["droplora"])
        return max(
            60 + self.gain(rate, lr, rank / 3, alpha, method)
            for lr in np.linspace(0, 1, 101)
            for rank in range(4)
            for alpha in (1, 2)
            for method in methods
        )


def _usual(lr: float, rank: float, alpha: float, best: float = 0.5) -> float:
    """A learning rate matters most, then the rank, then alpha."""
    return -12 * (lr - best) ** 2 + 1.0 * rank - 0.5 * (alpha == 1) * lr


def _inside(rate: float, best: float = 0.4) -> float:
    """0.8 points less one step from the best rate."""
    return 3.5 - 20 * (rate - best) ** 2


def _cliff(rate: float, lr: float, rank: float) -> float:
    """Collapse beyond a line; just before it are the best learning rates."""
    return -30.0 if rate + lr > 1.15 else 3 * lr + rank + _inside(rate)


def _by_method(rate: float, lr: float, rank: float, alpha: float, method: str) -> float:
    best, level = (0.6, 1.0) if method == "dora" else (0.2, 0.0)
    return _usual(lr, rank, alpha) + level + _inside(rate, best)


WORLDS = {
    "best rate inside": World(lambda p, lr, r, a, m: _usual(lr, r, a) + _inside(p)),
    "all rates equal": World(lambda p, lr, r, a, m: _usual(lr, r, a)),
    "best rate at the edge": World(lambda p, lr, r, a, m: _usual(lr, r, a) + 4.0 * p),
    "p = 0 is best": World(lambda p, lr, r, a, m: _usual(lr, r, a) - 4.0 * p),
    "needs its learning rate": World(
        lambda p, lr, r, a, m: _usual(lr, r, a, 0.25 + 0.6 * p) + _inside(p, 0.6)
    ),
    "cliff": World(lambda p, lr, r, a, m: _cliff(p, lr, r)),
    "unequal noise of seeds": World(
        lambda p, lr, r, a, m: _usual(lr, r, a) + _inside(p, 0.2),
        seed=lambda p: 0.3 if p < 0.5 else 2.5,
    ),
    "heavy tails, collapses": World(
        lambda p, lr, r, a, m: _usual(lr, r, a) + _inside(p),
        seed=lambda p: 1.0,
        tail=3,
        collapses=0.05,
    ),
    "100 examples": World(lambda p, lr, r, a, m: _usual(lr, r, a) + _inside(p), num_examples=100),
    "methods differ": World(_by_method, space={METHOD: {"values": ["droplora", "dora", "rslora"]}}),
}
"""Those of which a table is made."""


@dataclass
class Trial:
    """A trial and its score on each example."""

    drawn: dict[str, Any]
    score: float
    outcomes: list[float]

    @property
    def rate(self) -> float:
        """Its pruning rate, without the rounding of a step."""
        return round(float(self.drawn[RATE]), 9)

    @property
    def text(self) -> str:
        """Its outcomes as text."""
        return "".join("01"[one > 0.5] for one in self.outcomes)

    @staticmethod
    def of(drawn: dict[str, Any], text: str) -> Trial:
        """Return the trial whose outcomes are this text."""
        outcomes = [float(one) for one in text]
        return Trial(drawn, float(np.mean(outcomes)), outcomes)

    @property
    def observed(self) -> ObservedTrial:
        return ObservedTrial(
            drawn=self.drawn, scores={1: self.score}, outcomes={"b": self.outcomes}
        )


def search(world: World, sampler: str, seed: int) -> list[Trial]:
    """One search, trial after trial, as a driver with one group has it."""
    sweep = world.sweep(sampler, seed)
    generator = np.random.default_rng([seed, 1])
    hard_E = DIFFICULTY * generator.standard_normal(world.num_examples)
    study = optuna.create_study(direction="maximize")
    for values in baselines(sweep):
        study.enqueue_trial(dict(values))
    trials: list[Trial] = []
    for number in range(NUM_TRIALS):
        if sampler == "decide" and number >= len(baselines(sweep)):
            study.enqueue_trial(_next(sweep, trials, number))
        study.sampler = make_sampler(sweep, number)
        asked = study.ask()
        drawn = draw_all(asked, sweep)
        outcomes = world.score(drawn, hard_E, generator)
        trials.append(Trial(drawn, float(outcomes.mean()), outcomes.tolist()))
        study.tell(asked, trials[-1].score)
    return trials


@dataclass
class Searches:
    """Searches by world, sampler and seed, each made once.

    Attributes:
        path: Where finished ones are kept, a line of JSON each; None to keep none.
    """

    path: Path | None = None
    _found: dict[tuple[str, str, int], tuple[float, list[Trial]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines() if self.path and self.path.exists() else []
        for one in map(json.loads, lines):
            self._found[one["world"], one["sampler"], one["seed"]] = (
                one["seconds"],
                [Trial.of(drawn, text) for drawn, text in one["trials"]],
            )

    def of(self, name: str, sampler: str, seed: int) -> tuple[float, list[Trial]]:
        """Return the CPU seconds that a search took, and its trials."""
        key = name, sampler, seed
        if key not in self._found:
            start = time.process_time()
            trials = search(WORLDS[name], sampler, seed)
            self._found[key] = time.process_time() - start, trials
            self._keep(key)
        return self._found[key]

    def _keep(self, key: tuple[str, str, int]) -> None:
        if self.path is None:
            return
        seconds, trials = self._found[key]
        row = dict(zip(("world", "sampler", "seed"), key, strict=True)) | {
            "seconds": seconds,
            "trials": [(one.drawn, one.text) for one in trials],
        }
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _next(sweep: SweepSpec, trials: list[Trial], number: int) -> dict[str, Any]:
    known = {tuple(sorted(one.drawn.items())) for one in trials}
    sampler = sweep.search.sampler
    assert isinstance(sampler, DecideSpec)
    found = next_setting(
        sweep,
        SearchState(finished=[one.observed for one in trials]),
        sampler=sampler,
        num_drawn=number,
        parts=["b"],
        is_known=lambda one: tuple(sorted(one.items())) in known,
    )
    assert found is not None, "there are more settings than trials"
    return found


def by_best_trial(trials: list[Trial]) -> list[Trial]:
    """Each rate's best trial, the best first."""
    found: dict[float, Trial] = {}
    for one in sorted(trials, key=lambda one: -one.score):
        found.setdefault(one.rate, one)
    return list(found.values())


def by_posterior(sweep: SweepSpec, trials: list[Trial]) -> list[Trial]:
    """Each rate's trial of the best expectation, the likeliest to be the best first."""
    seen = observations([one.observed for one in trials], ["b"])
    posterior = fit(coordinates_of(sweep.search.parameters), seen)
    if posterior is None:
        return by_best_trial(trials)
    means, _ = posterior([one.drawn for one in trials])
    found: dict[float, Trial] = {}
    for index in np.argsort(-means, kind="stable"):
        found.setdefault(trials[index].rate, trials[index])
    arms = list(found.values())
    chances = chances_to_be_best(posterior, [one.drawn for one in arms])
    return [arms[index] for index in np.argsort(-chances, kind="stable")]


@dataclass(frozen=True)
class Result:
    """Outcome of searches in one world.

    Attributes:
        top3: Share in which the true best rate was among the first three.
        top1: Share in which it was the first.
        regret: Mean of how far the first one's true score is below the best of all, in points.
        seconds: Mean CPU seconds of a search.
    """

    top3: float
    top1: float
    regret: float
    seconds: float


def assess(
    name: str, seeds: range, samplers: tuple[str, ...], searches: Searches | None = None
) -> dict[tuple[str, str], Result]:
    """Return results by sampler, and by the rule that picks from its trials."""
    searches, world = searches or Searches(), WORLDS[name]
    best = {rate: world.best_of(rate) for rate in RATES}
    right = {rate for rate in RATES if best[rate] > max(best.values()) - 1e-9}
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for seed in seeds:
        for sampler in samplers:
            seconds, trials = searches.of(name, sampler, seed)
            modelled = by_posterior(world.sweep(sampler, seed), trials)
            rules = {"best trial": by_best_trial(trials), "posterior": modelled}
            for rule, arms in rules.items():
                first = [one.rate for one in arms[:3]]
                regret = max(best.values()) - world.truth(arms[0].drawn)
                row = (bool(right & {*first}), first[0] in right, regret, seconds)
                found.setdefault((sampler, rule), []).append(row)
    return {key: Result(*np.mean(rows, axis=0)) for key, rows in found.items()}


def main(num: str = "50", samplers: str = "tpe,random,decide", kept: str = "", *names: str) -> None:
    """Print a line for each world, sampler and rule."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searches = Searches(Path(kept) if kept else None)
    for name in names or WORLDS:
        found = assess(name, range(int(num)), tuple(samplers.split(",")), searches)
        for key, one in found.items():
            sys.stdout.write(
                f"{name:24}{key[0]:8}{key[1]:12}{one.top3:7.1%}{one.top1:7.1%}{one.regret:7.2f}"
                f"{one.seconds:6.2f} s\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
