"""Rules between sampler, stopping rule, objectives, population and space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.loading.messages import shown
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.metric_names import MEAN, is_likelihood, score_name, subject_of
from droplora_sweep.spec.parameters import Range
from droplora_sweep.spec.search import (
    COSTS,
    MUTABLE,
    RATE,
    SINGLE_OBJECTIVE,
    CmaEsSpec,
    DecideSpec,
    GpSpec,
    GridSpec,
    QuasiRandomSpec,
    RandomSpec,
)
from droplora_sweep.spec.space import grid_size, trial_limit

from .parameter_rules import PARAMETERS, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.loading.yaml_text import Path
    from droplora_sweep.spec.sweep import SweepSpec


MAX_GRID_POINTS = 100_000
"""All are listed before the first is run."""

OBJECTIVES: Path = ("search", "objectives")
METRIC: Path = ("search", "metric")
SAMPLER: Path = ("search", "sampler")


def find_broken_search(sweep: SweepSpec) -> Iterator[Finding]:
    """Every rule between objectives, sampler and stopping rule that is broken."""
    if not sweep.search.objectives:
        return
    yield from _objectives(sweep)
    kind = sweep.search.sampler.kind
    if kind in SINGLE_OBJECTIVE:
        problem = (
            f"must be a sampler for several `search.objectives`, got {kind}, which follows one"
        )
        yield Finding(SAMPLER, problem)
    stopping = sweep.search.stopping.kind
    if stopping != "none":
        problem = (
            "must be `kind: none` with several `search.objectives`: a trial that is behind in one "
            f"may be ahead in another, got {stopping}"
        )
        yield Finding(("search", "stopping"), problem)


def _objectives(sweep: SweepSpec) -> Iterator[Finding]:
    objectives = sweep.search.objectives
    if len(objectives) == 1:
        problem = f"must be at least two, or be left out, got {shown(list(objectives))}"
        yield Finding(OBJECTIVES, problem)
    main = subject_of(sweep.search.metric)
    if is_likelihood(sweep.search.metric):
        problem = (
            f"must be a score with `search.objectives`, such as {score_name(main)}, got "
            f"{shown(sweep.search.metric)}"
        )
        yield Finding(METRIC, problem, (OBJECTIVES,))
    if objectives[0] != main:
        problem = f"must be {main}, as `search.metric` says, got {shown(objectives[0])}"
        yield Finding((*OBJECTIVES, 0), problem, (METRIC,))
    known = (MEAN, *sweep.task.benchmarks, *COSTS)
    for index, name in enumerate(objectives):
        place = (*OBJECTIVES, index)
        if name not in known:
            problem = f"must be one of {', '.join(known)}, got {shown(name)}"
            yield Finding(place, problem, (("task", "benchmarks"),))
        elif name in objectives[:index]:
            yield Finding(place, f"must differ from the others, got {shown(name)} twice")
        elif name == "forgetting" and sweep.evaluation.held_out_text is None:
            yield Finding(place, "needs `evaluation.held_out_text`, got null")


def find_unfit_space(sweep: SweepSpec) -> Iterator[Finding]:
    """Yield faults of a space, whose parameters are sound, that the sampler cannot search."""
    sampler, parameters = sweep.search.sampler, sweep.search.parameters
    if isinstance(sampler, GridSpec):
        yield from _grid(sweep)
    elif isinstance(sampler, DecideSpec):
        yield from _decide(sweep)
    elif isinstance(sampler, GpSpec):
        for path, parameter in parameters.items():
            if parameter.when:
                problem = (
                    "must be left out with `sampler: gp`, whose model needs a value of every "
                    f"parameter in every trial, got {', '.join(parameter.when)}"
                )
                yield Finding((*PARAMETERS, path, "when"), problem, (SAMPLER,))
    elif isinstance(sampler, CmaEsSpec) and not ranges_of_all(sweep):
        problem = (
            "must be another sampler where no range (`min` and `max`) without `when` is searched, "
            "got cma_es, which moves in ranges alone"
        )
        yield Finding(SAMPLER, problem, (PARAMETERS,))


def _decide(sweep: SweepSpec) -> Iterator[Finding]:
    parameters = sweep.search.parameters
    if RATE not in parameters or parameters[RATE].size == 1:
        problem = (
            f"must be another sampler where no several values of `{RATE}` are searched, got "
            "decide, which decides between them"
        )
        yield Finding(SAMPLER, problem, (PARAMETERS,))


def _grid(sweep: SweepSpec) -> Iterator[Finding]:
    continuous = [path for path, one in sweep.search.parameters.items() if one.size is None]
    for path in continuous:
        problem = (
            "must have a `step`, or be a list of `values`, with `sampler: grid`, which tries "
            "every value"
        )
        yield Finding((*PARAMETERS, path), problem, (SAMPLER,))
    if continuous:
        return
    num_points = grid_size(sweep) or 0
    if num_points > MAX_GRID_POINTS:
        problem = (
            f"must be another sampler for more than {MAX_GRID_POINTS:,} points, got grid with "
            f"{num_points:,}"
        )
        yield Finding(SAMPLER, problem, (PARAMETERS,))


def ranges_of_all(sweep: SweepSpec) -> tuple[str, ...]:
    """The searched ranges of more than one value that every trial has, in the file's order."""
    return tuple(
        path
        for path, parameter in sweep.search.parameters.items()
        if isinstance(parameter, Range) and not parameter.when and parameter.size != 1
    )


WITH = "with `search.population`"


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
            f"must be `kind: none` {WITH}: a member that is behind copies another, "
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
        problem = f"must be null {WITH}: a schedule cannot be trained again with other seeds"
        yield Finding(("confirm",), problem)
    if sweep.evaluation.num_evaluations < 2:
        problem = f"must be at least 2 {WITH}: members copy between evaluations, got 1"
        yield Finding(("evaluation", "num_evaluations"), problem)


def _members(sweep: SweepSpec) -> Iterator[Finding]:
    adapter = sweep.adapter
    if why := method_of(adapter.method).no_population:
        problem = f"must be another method {WITH}, got {adapter.method}, which {why}"
        yield Finding(("adapter", "method"), problem)
    if adapter.mask == "learned":
        problem = (
            f"must be token, sample or step {WITH}: gates are learned for one rate, got learned"
        )
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
