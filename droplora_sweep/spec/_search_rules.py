"""What must hold between a search's sampler, stopping rule, objectives and space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._messages import shown
from ._parameter_rules import PARAMETERS, Finding
from .objectives import COSTS
from .parameters import Range
from .sampler import SINGLE_OBJECTIVE, CmaEsSpec, GpSpec, GridSpec
from .space import grid_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._yaml import Path
    from .sweep import SweepSpec

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
        problem = f"must be another with several `search.objectives`: it follows one, got {kind}"
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
    main = sweep.search.metric.removeprefix("val/")
    if objectives[0] != main:
        problem = f"must be {main}, as `search.metric` says, got {shown(objectives[0])}"
        yield Finding((*OBJECTIVES, 0), problem, (METRIC,))
    known = ("mean", *sweep.task.benchmarks, *COSTS)
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
    """What the sampler cannot search in a space whose parameters are sound."""
    sampler, parameters = sweep.search.sampler, sweep.search.parameters
    if isinstance(sampler, GridSpec):
        yield from _grid(sweep)
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
            "must be another, or search a range (`min` and `max`) that has no `when`: a choice "
            "has no direction to go, got cma_es"
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
            f"must be another for more than {MAX_GRID_POINTS:,} points, got grid with "
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
