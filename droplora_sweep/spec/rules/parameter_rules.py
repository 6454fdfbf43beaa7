"""Rules of each searched field: it exists, and every value that it may take is valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.fields import (
    COMPOUND_FIELDS,
    MAPPING_FIELDS,
    SCALAR_FIELDS,
    field_error,
    get_field,
    is_numeric,
    is_scalar_field,
    is_searchable,
    split_path,
)
from droplora_sweep.spec.loading.messages import shown, suggestion, translate
from droplora_sweep.spec.parameters import is_number, same
from droplora_sweep.spec.space import find_cycle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.base import Scalar
    from droplora_sweep.spec.loading.yaml_text import Path
    from droplora_sweep.spec.parameters import Parameter
    from droplora_sweep.spec.sweep import SweepSpec

PARAMETERS: Path = ("search", "parameters")

_SECTIONS = tuple(path for path in COMPOUND_FIELDS if "." not in path)


@dataclass(frozen=True)
class Finding:
    """A broken rule.

    Attributes:
        path: The value to blame.
        problem: Rule and value.
        reads: Further values the rule read: if one of them is faulty itself, this says nothing.
        is_found_again: True where reading the data finds it too, with the faults of the model:
            alone it is left to that, so that it hides nothing.
    """

    path: Path
    problem: str
    reads: tuple[Path, ...] = ()
    is_found_again: bool = False


def find_broken_parameters(sweep: SweepSpec) -> Iterator[Finding]:
    """Every rule that a searched field breaks, in the order of the file."""
    for path, parameter in sweep.search.parameters.items():
        place = (*PARAMETERS, path)
        problem = _unsearchable(path)
        if problem:
            yield Finding(place, problem)
            continue
        references = list(_references(place, path, parameter, sweep))
        yield from references
        if not references:
            yield from _values(place, path, parameter, sweep)
    cycle = find_cycle(sweep.search.parameters)
    if cycle:
        problem = f"`when` and `ratio_of` must not be circular, got {' and '.join(cycle)}"
        yield Finding((*PARAMETERS, cycle[0]), problem)


def _unsearchable(path: str) -> str | None:
    if is_searchable(path):
        return None
    if is_scalar_field(path):
        return "cannot be searched: it must be the same in every trial of a sweep"
    return _no_field(path)


def _no_field(path: str) -> str:
    """Why ``path``, which is no scalar field, cannot be referred to."""
    if path.rstrip(".") in MAPPING_FIELDS:
        return f"must name an entry of the mapping, e.g. `{path.rstrip('.')}.q_proj`"
    if path in COMPOUND_FIELDS:
        return "is not a field of a trial that holds one value"
    near = suggestion(path, (*SCALAR_FIELDS, *MAPPING_FIELDS))
    hint = f"did you mean `{near}`?" if near else f"its sections are {', '.join(_SECTIONS)}"
    return f"is not a field of a trial, {hint}"


def _references(
    place: Path, path: str, parameter: Parameter, sweep: SweepSpec
) -> Iterator[Finding]:
    base = parameter.ratio_of
    if base is not None:
        where = (*place, "ratio_of")
        if not is_scalar_field(base):
            yield Finding(where, _no_field(base))
        elif base != path and not _has_number(base, sweep):
            yield Finding(where, f"must be a field with a number, got {shown(base)}")
        elif not is_numeric(path):
            yield Finding(where, f"must be left out: `{path}` takes no number")
    for other, options in parameter.when.items():
        where = (*place, "when", other)
        if not is_scalar_field(other):
            yield Finding(where, _no_field(other))
            continue
        for option in options:
            impossible = _impossible(other, option, sweep)
            if impossible:
                yield Finding(where, impossible, ((*PARAMETERS, other),))


def _has_number(path: str, sweep: SweepSpec) -> bool:
    """Return whether the field at ``path`` is a number in every trial."""
    parameter = sweep.search.parameters.get(path)
    is_always_searched = parameter is not None and not parameter.when
    has_default = get_field(sweep.trial, path) is not None
    return is_numeric(path) and (is_always_searched or has_default)


def _impossible(path: str, value: Scalar, sweep: SweepSpec) -> str | None:
    """Why the field at ``path`` never has this value."""
    details = field_error(sweep.trial, path, value)
    if details:
        return translate(details)[1]
    parameter = sweep.search.parameters.get(path)
    if parameter is None or parameter.ratio_of is not None or parameter.contains(value):
        return None
    if parameter.when and same(get_field(sweep.trial, path), value):
        return None
    return f"must be a value that `{path}` is searched over, got {shown(value)}"


def _values(place: Path, path: str, parameter: Parameter, sweep: SweepSpec) -> Iterator[Finding]:
    """Each value in its field; a ratio times each value that the other field can have."""
    base = parameter.ratio_of
    for inner, raw in parameter.probes:
        for value in _products(raw, base, sweep):
            details = field_error(sweep.trial, path, value)
            if details:
                problem = translate(details)[1]
                if base is not None and value is not raw:
                    problem += f" ({raw} of `{base}`)"
                reads = () if base is None else ((*PARAMETERS, base), split_path(base))
                yield Finding((*place, *inner), problem, reads)
                break


def _products(
    raw: Scalar, base: str | None, sweep: SweepSpec, seen: tuple[str, ...] = ()
) -> Iterator[Scalar]:
    if base is None or not is_number(raw):
        yield raw
        return
    for _, value in possible_values(base, sweep, seen):
        if is_number(value):
            yield raw * value


def possible_values(
    path: str, sweep: SweepSpec, seen: tuple[str, ...] = ()
) -> Iterator[tuple[Path, Scalar | None]]:
    """Yield the values of the field at ``path`` in a trial, of a range its ends, with their places.

    Args:
        path: Dotted path; one that does not exist has no values.
        sweep: The space, not necessarily sound.
        seen: Fields whose values are being worked out: a circle of ratios ends here.
    """
    if not is_scalar_field(path) or path in seen:
        return
    parameter = sweep.search.parameters.get(path)
    if parameter is None or parameter.when:
        yield split_path(path), get_field(sweep.trial, path)
    if parameter is not None:
        for inner, raw in parameter.probes:
            for value in _products(raw, parameter.ratio_of, sweep, (*seen, path)):
                yield (*PARAMETERS, path, *inner), value
