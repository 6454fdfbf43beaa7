"""Variants that a sweep compares fairly: the same number of trials for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._messages import shown
from ._parameter_rules import PARAMETERS, Finding
from .fields import get_field
from .parameters import Choice
from .space import variants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._yaml import Path
    from .base import Scalar
    from .sweep import SweepSpec
    from .trial import TrialSpec

COMPARE: Path = ("search", "compare")
FAIR_SAMPLERS = ("tpe", "gp", "random")
"""Samplers that can be given the trials of one variant as all there is."""


def variant_key(trial: TrialSpec, sweep: SweepSpec) -> tuple[Scalar | None, ...]:
    """What tells the trial's variant from others: the values of the compared fields."""
    return tuple(get_field(trial, path) for path in sweep.search.compare)


def find_unfair_comparison(sweep: SweepSpec) -> Iterator[Finding]:
    """What would make a comparison unfair, or cannot be compared.

    Args:
        sweep: A sweep whose parameters are sound.
    """
    search = sweep.search
    if not search.compare:
        return
    problems = [*_fields(sweep)]
    yield from problems
    if problems:
        return
    if search.sampler.kind not in FAIR_SAMPLERS:
        problem = f"must be {', '.join(FAIR_SAMPLERS[:-1])} or {FAIR_SAMPLERS[-1]}"
        problem += f" with `search.compare`, got {search.sampler.kind}"
        yield Finding(("search", "sampler"), problem, (COMPARE,))
    if search.stopping.kind != "none":
        problem = (
            "must be `kind: none` with `search.compare`: a method that learns more slowly would be "
            f"stopped for it, got {search.stopping.kind}"
        )
        yield Finding(("search", "stopping"), problem, (COMPARE,))
    if search.objectives:
        problem = "must be left out with several `search.objectives`: a best of each is not known"
        yield Finding(COMPARE, problem, (("search", "objectives"),))
    num_variants = len(variants(sweep))
    if search.num_trials is None or search.num_trials % num_variants:
        problem = (
            f"must be a multiple of {num_variants}, the variants of `search.compare`, so that each "
            f"has as many trials, got {shown(search.num_trials)}"
        )
        yield Finding(("search", "num_trials"), problem, (COMPARE, PARAMETERS))


def _fields(sweep: SweepSpec) -> Iterator[Finding]:
    compare = sweep.search.compare
    for index, path in enumerate(compare):
        parameter = sweep.search.parameters.get(path)
        if path in compare[:index]:
            yield Finding((*COMPARE, index), f"must differ from the others, got {path!r} twice")
        elif not isinstance(parameter, Choice) or parameter.ratio_of is not None:
            problem = f"must be searched over `values`, without `ratio_of`, got {path!r}"
            yield Finding((*COMPARE, index), problem, (PARAMETERS,))
        else:
            others = [other for other in parameter.when if other in sweep.search.parameters]
            if not set(others) <= set(compare):
                problem = (
                    f"must have a `when` on compared fields alone, got {', '.join(others)} for "
                    f"{path!r}"
                )
                yield Finding((*COMPARE, index), problem, (PARAMETERS,))
