"""Confirmation of the search's best settings: repeated with several seeds, then decided on."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, Positive, SpecModel, broken_rule

MAX_SEED = 2**31


class ConfirmSpec(SpecModel):
    """The stage after the search, which ends in a decision per benchmark.

    The best settings of the search and one without pruning, the *arms*, are trained anew to full
    length with the same new seeds, and so in the same data order, and compared on the same
    examples. Then the test split is scored, once, for the winners and p = 0.
    """

    rates: Annotated[int, Field(ge=1, le=20)] = 3
    """Pruning rates confirmed for each benchmark and for their mean, 1 to 20, each with the best
    setting that the search tried with it. Fewer where ``max_runs`` has no room for more, and where
    it has none for one of each, all benchmarks are decided on the arms of their mean."""
    finalists: Literal["posterior", "likelihood", "best_trial"] = "posterior"
    """Rule by which rates and settings are picked: ``posterior``, the likeliest to be the best by a
    model over all trials, which discounts a lucky one; ``likelihood``, the same by how likely the
    reference responses are (needs ``evaluation.likelihood``; by scores on benchmarks without
    references); ``best_trial``, the best observed scores, also used where the model cannot be
    fitted (fewer than 6 trials, or equal scores). With ``search.metric: auto`` it is
    ``likelihood`` where left out and the search follows that."""
    seeds: Annotated[int, Field(ge=3, le=1000)] = 3
    """Seeds of every arm, 3 to 1000: with fewer, two arms cannot be compared."""
    max_seeds: Annotated[int, Field(ge=3, le=1000)] | None = None
    """Add seeds, half as many again each time, until every decision is clear or this many are used;
    null: decide once, with ``seeds``. Only arms that can still be chosen get them: a rate that is
    shown to be worse than p = 0, or whose chance of being chosen is below 5 %, is dropped. The
    correction for looking repeatedly is made for the numbers planned here."""
    max_runs: Count | None = None
    """Trained runs of this stage (arms times seeds) in all, at most, runs of arms that were dropped
    included; null: as many as the seeds ask for."""
    gpu_hours: Positive | None = None
    """GPU hours of this stage's runs (their time times the GPUs of a group; on CPUs, its workers)
    after which no run starts; null: no limit. Runs that have begun then are trained to their end,
    and a look whose runs would not all fit is not begun. It is decided on the looks that are
    complete; where something is open, a higher limit continues, and the test split waits."""
    controls: bool = False
    """Train every confirmed setting without its pruning too, with the same seeds, and call a rate
    better only where it also beats that: the gain is then the rate's own, and not that of, say, a
    learning rate that was tuned better. Adds one arm for each rate."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Smallest gain over p = 0 that matters, a fraction of 1 in [0, 1): where all rates surely gain
    less, the answer is p = 0. 0 leaves that answer out."""
    examples: Literal["new", "validation"] = "new"
    """Examples that decide: ``task.num_confirmation`` of them that the search never saw, or the
    validation examples again, where data is too scarce for that. Every setting that the search
    tried counts as tested then, so that a gain must be larger to be shown."""

    @model_validator(mode="after")
    def _check(self) -> ConfirmSpec:
        if self.max_seeds is not None and self.max_seeds < self.seeds:
            problem = f"must be at least `seeds`, {self.seeds}, got {self.max_seeds}"
            raise broken_rule(problem, "max_seeds")
        fewest, _ = self.num_runs(1)
        if self.max_runs is not None and self.max_runs < fewest:
            arms = "one rate, its control and p = 0" if self.controls else "one rate and p = 0"
            problem = (
                f"must be at least {fewest}, {arms} with `seeds: {self.seeds}`, got {self.max_runs}"
            )
            raise broken_rule(problem, "max_runs")
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds at which it is decided, ascending.

        >>> ConfirmSpec(seeds=4).looks, ConfirmSpec(seeds=3, max_seeds=12).looks
        ((4,), (3, 5, 8, 12))
        """
        last = self.max_seeds or self.seeds
        looks = [self.seeds]
        while looks[-1] < last:
            looks.append(min(last, math.ceil(1.5 * looks[-1])))
        return tuple(looks)

    def num_runs(self, num_benchmarks: int) -> tuple[int, int]:
        """Fewest and most runs: from one rate beside p = 0, to other arms for every benchmark.

        >>> ConfirmSpec(rates=2, seeds=3).num_runs(1), ConfirmSpec(max_runs=20).num_runs(3)
        ((6, 9), (6, 20))
        """
        arms_of_rate = 1 + self.controls
        num_subjects = num_benchmarks + (num_benchmarks > 1)
        most = num_subjects * (self.rates * arms_of_rate + 1) * self.looks[-1]
        return (arms_of_rate + 1) * self.seeds, most if self.max_runs is None else min(
            most, self.max_runs
        )

    def seeds_after(self, seed: int) -> tuple[int, ...]:
        """The seeds of the runs, in order: those that follow the search's own, which picked.

        >>> ConfirmSpec(seeds=3).seeds_after(42)
        (43, 44, 45)
        """
        return tuple((seed + 1 + index) % MAX_SEED for index in range(self.looks[-1]))


def with_examples_held_back(data: Any) -> Any:
    """A sweep's values with ``task.num_confirmation`` where ``confirm`` needs it and none is given.

    Args:
        data: As they come from a file, or from Python.
    """
    if not isinstance(data, dict):
        return data
    confirm, task = data.get("confirm"), data.get("task", {})
    if not isinstance(confirm, dict | SpecModel) or not isinstance(task, dict | SpecModel):
        return data
    fields = dict(task)
    if dict(confirm).get("examples", "new") != "new" or fields.get("num_confirmation") is not None:
        return data
    return {**data, "task": {**fields, "num_confirmation": fields.get("num_validation", 200)}}
