"""What must hold for population-based training: members that can copy each other's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._parameter_rules import PARAMETERS, Finding
from .limits import trial_limit
from .parameters import Range
from .population import MUTABLE
from .sampler import QuasiRandomSpec, RandomSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .sweep import SweepSpec

WITH = "with `search.population`"
FIXED_METHODS = ("lora_drop", "full")


def find_unfit_population(sweep: SweepSpec) -> Iterator[Finding]:
    """Every rule of ``search.population`` that is broken."""
    if sweep.search.population is None:
        return
    yield from _search(sweep)
    yield from _members(sweep)
    yield from _parameters(sweep)


def _search(sweep: SweepSpec) -> Iterator[Finding]:
    search, population = sweep.search, sweep.search.population
    assert population is not None
    if not isinstance(search.sampler, RandomSpec | QuasiRandomSpec):
        problem = (
            f"must be random or quasi_random {WITH}: a member's score is not that of the values "
            f"that were drawn, got {search.sampler.kind}"
        )
        yield Finding(("search", "sampler"), problem)
    if search.stopping.kind != "none":
        problem = (
            f"must be `kind: none` {WITH}: who is behind copies, and is not stopped, "
            f"got {search.stopping.kind}"
        )
        yield Finding(("search", "stopping"), problem)
    if search.objectives:
        problem = f"must be left out {WITH}, which follows `search.metric` alone"
        yield Finding(("search", "objectives"), problem)
    if search.compare:
        problem = f"must be left out {WITH}: members of different variants cannot copy each other"
        yield Finding(("search", "compare"), problem)
    limit = trial_limit(sweep)
    if limit is not None and limit < population.min_members:
        problem = f"must be at least `search.population.min_members`, {population.min_members}"
        reads = (("search", "population", "min_members"),)
        yield Finding(("search", "num_trials"), f"{problem}, got {limit}", reads)
    if sweep.confirm is not None:
        problem = f"must be null {WITH}: a schedule is no setting that is trained again"
        yield Finding(("confirm",), problem)
    if sweep.evaluation.num_evaluations < 2:
        problem = f"must be at least 2 {WITH}: members copy between evaluations, got 1"
        yield Finding(("evaluation", "num_evaluations"), problem)


def _members(sweep: SweepSpec) -> Iterator[Finding]:
    adapter = sweep.adapter
    if adapter.method in FIXED_METHODS:
        why = "changes its shapes as it trains" if adapter.method == "lora_drop" else "has no rate"
        problem = f"must be another {WITH}, got {adapter.method}, which {why}"
        yield Finding(("adapter", "method"), problem)
    if adapter.mask == "learned":
        problem = f"must be token, sample or step {WITH}: gates are of one rate, got learned"
        yield Finding(("adapter", "mask"), problem)


def _parameters(sweep: SweepSpec) -> Iterator[Finding]:
    parameters = sweep.search.parameters
    if not parameters:
        problem = f"must search one of {', '.join(MUTABLE)} {WITH}, got none"
        yield Finding(PARAMETERS, problem)
    for path, parameter in parameters.items():
        place = (*PARAMETERS, path)
        if path not in MUTABLE:
            problem = f"must be one of {', '.join(MUTABLE)} {WITH}: members must have the same "
            yield Finding(place, f"{problem}shapes and data, got {path}")
        elif not isinstance(parameter, Range):
            yield Finding(place, f"must be a range (`min` and `max`) {WITH}, got values")
        elif parameter.when or parameter.ratio_of is not None:
            yield Finding(place, f"must have neither `when` nor `ratio_of` {WITH}")
