"""From searched values to trials: which are active, what they mean, how many there may be.

Searched values are *raw*: the number the sampler drew, before ``ratio_of`` multiplies it.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from droplora_sweep.errors import Fault, InputError

from .at_fidelity import at_search_fidelity
from .fields import get_field, with_fields
from .loading.messages import translate
from .loading.source import dotted
from .parameters import Parameter, Range, same
from .search import GridSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .base import Scalar
    from .sweep import SweepSpec
    from .trial import TrialSpec


def dependencies(parameter: Parameter) -> tuple[str, ...]:
    """The fields whose values decide whether this one is searched and what its values mean."""
    ratio = () if parameter.ratio_of is None else (parameter.ratio_of,)
    return (*parameter.when, *ratio)


def find_cycle(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """The parameters that depend on themselves through ``when`` and ``ratio_of``, if any do."""
    placed = set(_ordered(parameters))
    return tuple(path for path in parameters if path not in placed)


def active_order(sweep: SweepSpec) -> tuple[str, ...]:
    """The searched paths in the file's order, each after those it depends on.

    Raises:
        InputError: Parameters depend on each other in a circle.
    """
    cycle = find_cycle(sweep.search.parameters)
    if cycle:
        problem = f"must not be circular: {', '.join(cycle)}"
        raise InputError.of("search.parameters", problem)
    return _ordered(sweep.search.parameters)


def is_active(path: str, values: Mapping[str, Scalar], sweep: SweepSpec) -> bool:
    """Return whether the parameter at ``path`` is searched, given the raw values before it."""
    conditions = sweep.search.parameters[path].when
    return all(
        any(same(field_value(other, values, sweep), option) for option in options)
        for other, options in conditions.items()
    )


def field_value(path: str, values: Mapping[str, Scalar], sweep: SweepSpec) -> Scalar | None:
    """Return the trial's field at ``path``: searched value times its ratio, or the default."""
    if path not in values:
        return get_field(sweep.trial, path)
    parameter, raw = sweep.search.parameters[path], values[path]
    if isinstance(parameter, Range) and parameter.size is not None:
        raw = parameter.nearest(raw)
    if parameter.ratio_of is None:
        return raw
    base = field_value(parameter.ratio_of, values, sweep)
    assert isinstance(raw, int | float)
    assert isinstance(base, int | float), "a ratio is of a number"
    return raw * base


def resolve(values: Mapping[str, Scalar], sweep: SweepSpec) -> TrialSpec:
    """The trial of the search that raw searched values mean, at the search's fidelity.

    Values of a stepped range are taken to the exact step first, so that 0.30000000000000004 and 0.3
    are the same trial.

    Args:
        values: Raw value of every active parameter, and of no other.
        sweep: The space.

    Raises:
        InputError: A parameter is missing, unknown, inactive or outside its domain, or the trial
            breaks a rule.
    """
    faults = [
        Fault("", path, "is not searched") for path in values if path not in sweep.search.parameters
    ]
    known = {path: value for path, value in values.items() if path in sweep.search.parameters}
    for path in active_order(sweep):
        active = is_active(path, known, sweep)
        domain = sweep.search.parameters[path]
        if active and path not in known:
            faults.append(Fault("", path, "must have a value"))
        elif path in known and not active:
            faults.append(Fault("", path, "must have no value: its `when` does not hold"))
        elif path in known and not domain.contains(known[path]):
            faults.append(Fault("", path, f"must be in its domain, got {known[path]!r}"))
    if faults:
        raise InputError(faults)
    try:
        resolved = {path: field_value(path, known, sweep) for path in known}
        return with_fields(at_search_fidelity(sweep).trial, resolved).with_alpha()
    except ValidationError as error:
        translated = map(translate, error.errors())
        raise InputError([Fault("", dotted(path), rule) for path, rule in translated]) from None


def drawn_values(spec: TrialSpec, sweep: SweepSpec) -> dict[str, Scalar] | None:
    """The raw values that `resolve` makes this trial of; None where the space does not have it."""
    values: dict[str, Scalar] = {}
    for path in active_order(sweep):
        if not is_active(path, values, sweep):
            continue
        parameter, value = sweep.search.parameters[path], get_field(spec, path)
        if value is None:
            return None
        if parameter.ratio_of is not None:
            base = get_field(spec, parameter.ratio_of)
            if not isinstance(value, int | float) or not isinstance(base, int | float) or not base:
                return None
            value = value / base
        if not parameter.contains(value):
            return None
        values[path] = parameter.nearest(value)
    return values if resolve(values, sweep) == spec else None


def variants(sweep: SweepSpec) -> list[dict[str, Scalar]]:
    """The searched values that make each variant, in the file's order; none without a comparison.

    >>> from droplora_sweep.spec import SweepSpec
    >>> parameters = {"adapter.method": {"values": ["lora", "dora"]}}
    >>> search = {"compare": ["adapter.method"], "parameters": parameters}
    >>> variants(SweepSpec.model_validate({"name": "q", "search": search}))
    [{'adapter.method': 'lora'}, {'adapter.method': 'dora'}]
    """
    paths = [path for path in active_order(sweep) if path in sweep.search.compare]
    return list(settings(paths, _members(sweep), sweep)) if paths else []


def grid_size(sweep: SweepSpec) -> int | None:
    """Number of different settings of the space; None if a parameter is a continuum."""
    parameters = sweep.search.parameters
    if any(parameter.size is None for parameter in parameters.values()):
        return None
    order = active_order(sweep)
    deciding: set[str] = set()
    for path in reversed(order):
        conditions = parameters[path].when
        deciding.update(conditions if path not in deciding else dependencies(parameters[path]))
    return sum(
        math.prod(
            parameters[path].size or 1
            for path in order
            if path not in deciding and is_active(path, values, sweep)
        )
        for values in settings([one for one in order if one in deciding], _members(sweep), sweep)
    )


def all_settings(sweep: SweepSpec) -> Iterator[dict[str, Scalar]]:
    """Raw values of every point of a space without a continuum."""
    return settings(active_order(sweep), _members(sweep), sweep)


def settings(
    order: Sequence[str],
    choices: Callable[[str], Iterable[Scalar]],
    sweep: SweepSpec,
    values: Mapping[str, Scalar] = MappingProxyType({}),
) -> Iterator[dict[str, Scalar]]:
    """Raw values of every combination in which inactive parameters have none.

    Args:
        order: Parameters, each after those that it depends on.
        choices: Gives the values of a parameter to combine.
        sweep: The space.
        values: Of the parameters before these.
    """
    if not order:
        yield dict(values)
    elif not is_active(order[0], values, sweep):
        yield from settings(order[1:], choices, sweep, values)
    else:
        for value in choices(order[0]):
            yield from settings(order[1:], choices, sweep, {**values, order[0]: value})


def _members(sweep: SweepSpec) -> Callable[[str], Iterable[Scalar]]:
    """Gives every value of a parameter that is no continuum."""
    return lambda path: sweep.search.parameters[path].members or ()


def _ordered(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Take, again and again, the first parameter whose dependencies are all taken."""
    waiting = list(parameters)

    def ready() -> list[str]:
        return [path for path in waiting if not {*dependencies(parameters[path])} & {*waiting}]

    order: list[str] = []
    while found := ready():
        order.append(found[0])
        waiting.remove(found[0])
    return tuple(order)


DEFAULT_NUM_TRIALS = 12


def trial_limit(sweep: SweepSpec) -> int | None:
    """Most trials of a search: as given, all points of a grid, or 12.

    None where only time ends it.
    """
    search = sweep.search
    if search.num_trials is not None:
        return search.num_trials
    if isinstance(search.sampler, GridSpec):
        return grid_size(sweep)
    return None if search.budget.limits_time else DEFAULT_NUM_TRIALS
