"""From searched values to trials: what is active, which trial they mean, what runs first.

Searched values are *raw*: the number the sampler drew, before ``ratio_of`` multiplies it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import ValidationError

from droplora_sweep.errors import Fault, InputError

from ._messages import translate
from ._source import dotted
from .fields import get_field, mapping_of, with_fields
from .parameters import Parameter, Range, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .base import Scalar
    from .sweep import SweepSpec
    from .trial import TrialSpec

PAPER: Mapping[str, Scalar] = {
    "adapter.method": "droplora",
    "adapter.rank": 32,
    "adapter.alpha": 64,
    "adapter.pruning_rate": 0.5,
    "adapter.mask": "token",
    "adapter.rescale": True,
    "adapter.dropout": 0.05,
    "training.learning_rate": 3e-4,
    "training.epochs": 3,
    "training.global_batch_size": 128,
    "training.warmup_steps": 100,
    "training.weight_decay": 0.1,
    "seed": 42,
}
"""DropLoRA's setting in arXiv 2508.17337: Table 7 (commonsense); the pruning rate is Table 5's.

Table 7 gives pruning rates from 0.1 to 0.5; Table 5's best run names one: rank 32 with 0.5. Mask,
rescaling, weight decay and seed are the released code's.
"""

RATE = "adapter.pruning_rate"

SAME_METHOD = {"droplora": "lora", "lora": "droplora"}
"""Two names of one method: where one is not searched, the other stands in for it."""

PAPER_ALPHA_PER_RANK = 2
"""Every LoRA, DoRA and DropLoRA column of Table 7 has alpha = 2 * rank."""


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
        raise InputError([Fault("", "search.parameters", problem)])
    return _ordered(sweep.search.parameters)


def is_active(path: str, values: Mapping[str, Scalar], sweep: SweepSpec) -> bool:
    """Whether the parameter at ``path`` is searched, given the raw values of those before it."""
    conditions = sweep.search.parameters[path].when
    return all(
        any(same(field_value(other, values, sweep), option) for option in options)
        for other, options in conditions.items()
    )


def field_value(path: str, values: Mapping[str, Scalar], sweep: SweepSpec) -> Scalar | None:
    """What the trial's field at ``path`` is: searched value times its ratio, or the default."""
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
    """The trial that raw searched values mean.

    Values of a stepped range are taken to the exact step first, so that 0.30000000000000004 and 0.3
    are the same trial.

    Args:
        values: Raw value of every active parameter, and of no other.
        sweep: What is searched.

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
        return with_fields(sweep.trial, resolved)
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


def baselines(sweep: SweepSpec) -> tuple[dict[str, Scalar], ...]:
    """Raw values of the trials to run first: the paper's setting, and the same without pruning.

    Every value of ``PAPER`` is brought to the nearest member of its domain, and so is the trial's
    default of a parameter the paper does not name; a module's own pruning rate is what the pruning
    rate is. Alpha follows the rank that was found, as in Table 7. The second has pruning rate 0, or
    method ``lora`` where the domain of the pruning rate has no 0; it is left out where neither is
    searched, or where it equals the first.
    """
    paper = _nearest_setting(PAPER, sweep)
    unpruned = _nearest_setting({**PAPER, RATE: 0.0}, sweep)
    if _is_pruned(unpruned, sweep):
        plain = {**PAPER, "adapter.method": "lora", RATE: 0.0}
        unpruned = _nearest_setting(plain, sweep)
    is_control = not _is_pruned(unpruned, sweep)
    return (paper, unpruned) if is_control and unpruned != paper else (paper,)


def _is_pruned(values: Mapping[str, Scalar], sweep: SweepSpec) -> bool:
    return resolve(values, sweep).adapter.is_pruned


def grid_size(sweep: SweepSpec) -> int | None:
    """How many different settings the space has; None if a parameter is a continuum."""
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
        for values in _settings([path for path in order if path in deciding], {}, sweep)
    )


def all_settings(sweep: SweepSpec) -> Iterator[dict[str, Scalar]]:
    """Raw values of every point of a space without a continuum."""
    return _settings(list(active_order(sweep)), {}, sweep)


def _settings(
    order: list[str], values: dict[str, Scalar], sweep: SweepSpec
) -> Iterator[dict[str, Scalar]]:
    if not order:
        yield values
    elif not is_active(order[0], values, sweep):
        yield from _settings(order[1:], values, sweep)
    else:
        for member in sweep.search.parameters[order[0]].members or ():
            yield from _settings(order[1:], {**values, order[0]: member}, sweep)


def _nearest_setting(setting: Mapping[str, Scalar], sweep: SweepSpec) -> dict[str, Scalar]:
    """Two passes, since alpha follows the rank that the first one found."""
    values = _nearest_values(setting, sweep)
    rank = field_value("adapter.rank", values, sweep)
    assert isinstance(rank, int)
    return _nearest_values({**setting, "adapter.alpha": PAPER_ALPHA_PER_RANK * rank}, sweep)


def _nearest_values(setting: Mapping[str, Scalar], sweep: SweepSpec) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    for path in active_order(sweep):
        if not is_active(path, values, sweep):
            continue
        parameter = sweep.search.parameters[path]
        target = _target(path, setting, sweep)
        if parameter.ratio_of is not None and isinstance(target, int | float):
            base = field_value(parameter.ratio_of, values, sweep)
            target = target / base if isinstance(base, int | float) and base else target
        if path == "adapter.method" and isinstance(target, str) and not parameter.contains(target):
            target = SAME_METHOD.get(target, target)
        values[path] = parameter.nearest(target)
    return values


def _target(path: str, setting: Mapping[str, Scalar], sweep: SweepSpec) -> Scalar | None:
    """What the parameter should be: as the setting has it, else the trial's default."""
    if path in setting:
        return setting[path]
    return setting[RATE] if mapping_of(path) else get_field(sweep.trial, path)


def _ordered(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Takes, again and again, the first parameter whose dependencies are all taken."""
    order: list[str] = []
    waiting = list(parameters)
    while waiting:
        ready = next(
            (
                path
                for path in waiting
                if not any(needed in waiting for needed in dependencies(parameters[path]))
            ),
            None,
        )
        if ready is None:
            break
        order.append(ready)
        waiting.remove(ready)
    return tuple(order)
