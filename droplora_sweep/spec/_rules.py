"""What must hold between the fields of a sweep; every rule yields what it finds broken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._messages import shown, suggestion, translate
from .fields import SCALAR_FIELDS, SEARCHABLE_FIELDS, field_error, get_field, is_numeric
from .parameters import Parameter, same
from .paths import is_hub_id, local_folder
from .space import baselines, find_cycle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._yaml import Path
    from .base import Scalar
    from .sweep import SweepSpec

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PARAMETERS: Path = ("search", "parameters")


@dataclass(frozen=True)
class Finding:
    """A broken rule.

    Attributes:
        path: The value to blame.
        problem: Rule and value.
        reads: Further values the rule read: if one of them is faulty itself, this says nothing.
    """

    path: Path
    problem: str
    reads: tuple[Path, ...] = ()


def find_broken_rules(sweep: SweepSpec) -> list[Finding]:
    """Every rule that is broken, in the order of the file's sections."""
    findings = [
        *_sources(sweep),
        *_benchmarks(sweep),
        *_batch(sweep),
        *_metric(sweep),
        *_parameters(sweep),
    ]
    # The rules below reason about the whole space, so they need every parameter to be sound.
    if not any(finding.path[:2] == _PARAMETERS for finding in findings):
        findings += [*_method(sweep), *_num_trials(sweep)]
    return findings


def _sources(sweep: SweepSpec) -> Iterator[Finding]:
    if sweep.model.path != "builtin":
        yield from _source("model", "path", sweep.model.path, sweep.model.revision)
    elif sweep.model.revision is not None:
        yield _needless_revision("model", sweep.model.revision)
    if sweep.task.data is not None:
        yield from _source("task", "data", sweep.task.data, sweep.task.revision)
    elif sweep.task.revision is not None:
        yield _needless_revision("task", sweep.task.revision)


def _source(section: str, name: str, path: str, revision: str | None) -> Iterator[Finding]:
    if is_hub_id(path):
        if revision is None:
            problem = (
                "must be given: the commit to use, since "
                f"`{section}.{name}` is no folder here and so a Hub id, got {shown(path)}"
            )
            yield Finding((section, "revision"), problem, ((section, name),))
        elif not _COMMIT.fullmatch(revision):
            problem = f"must be a commit of 40 hex digits, got {shown(revision)}"
            yield Finding((section, "revision"), problem)
    elif not local_folder(path).is_dir():
        yield Finding((section, name), f"must be an existing folder, got {shown(path)}")
    elif revision is not None:
        yield _needless_revision(section, revision)


def _needless_revision(section: str, revision: str) -> Finding:
    problem = f"must be left out unless a Hub id is used, got {shown(revision)}"
    return Finding((section, "revision"), problem, ((section,),))


def _benchmarks(sweep: SweepSpec) -> Iterator[Finding]:
    names = sweep.task.benchmarks
    for index, name in enumerate(names):
        if name in names[:index]:
            problem = f"must differ from the others, got {shown(name)} twice"
            yield Finding(("task", "benchmarks", index), problem)
    files = [name for name in names if not name.startswith("builtin_")]
    if files and sweep.task.data is None:
        problem = (
            f"must be given for {', '.join(files)}: the folder (or Hub id) that has "
            f"{files[0]}/train.json, e.g. --set task.data=FOLDER"
        )
        yield Finding(("task", "data"), problem, (("task", "benchmarks"),))


def _batch(sweep: SweepSpec) -> Iterator[Finding]:
    """A global batch is split over the workers; each needs a sequence of its own."""
    path = "training.global_batch_size"
    for place, value in _possible_values(path, sweep):
        if isinstance(value, int) and value < sweep.group.num_workers:
            problem = (
                "must be at least `group.num_workers`, "
                f"got {value} for {sweep.group.num_workers} workers"
            )
            yield Finding(place, problem, (("group", "num_workers"),))


def _metric(sweep: SweepSpec) -> Iterator[Finding]:
    known = ("val/mean", *(f"val/{name}" for name in sweep.task.benchmarks))
    if sweep.search.metric not in known:
        problem = f"must be one of {', '.join(known)}, got {shown(sweep.search.metric)}"
        yield Finding(("search", "metric"), problem, (("task", "benchmarks"),))


def _parameters(sweep: SweepSpec) -> Iterator[Finding]:
    for path, parameter in sweep.search.parameters.items():
        place = (*_PARAMETERS, path)
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
        yield Finding((*_PARAMETERS, cycle[0]), problem)


def _unsearchable(path: str) -> str | None:
    if path in SEARCHABLE_FIELDS:
        return None
    if path in SCALAR_FIELDS:
        return "cannot be searched: it must be the same in every trial of a sweep"
    return _unknown_field("is not a field of a trial that can be searched", path, SEARCHABLE_FIELDS)


def _unknown_field(problem: str, path: str, known: tuple[str, ...]) -> str:
    near = suggestion(path, known)
    return f"{problem}, did you mean `{near}`?" if near else f"{problem}, known ones are in README"


def _references(
    place: Path, path: str, parameter: Parameter, sweep: SweepSpec
) -> Iterator[Finding]:
    base = parameter.ratio_of
    if base is not None:
        where = (*place, "ratio_of")
        if base not in SCALAR_FIELDS:
            problem = f"must be a field of a trial, got {shown(base)}"
            yield Finding(where, _unknown_field(problem, base, SCALAR_FIELDS))
        elif not is_numeric(base) or get_field(sweep.trial, base) is None:
            yield Finding(where, f"must be a field with a number, got {shown(base)}")
        elif not is_numeric(path):
            yield Finding(where, "must be left out: this field takes no number")
    for other, options in parameter.when.items():
        where = (*place, "when", other)
        if other not in SCALAR_FIELDS:
            yield Finding(where, _unknown_field("is not a field of a trial", other, SCALAR_FIELDS))
            continue
        for option in options:
            impossible = _impossible(other, option, sweep)
            if impossible:
                yield Finding(where, impossible, ((*_PARAMETERS, other),))


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
    for inner, raw in parameter.probes:
        for value, origin in _products(raw, parameter, sweep):
            details = field_error(sweep.trial, path, value)
            if details:
                reads = () if parameter.ratio_of is None else ((*_PARAMETERS, parameter.ratio_of),)
                yield Finding((*place, *inner), translate(details)[1] + origin, reads)
                break


def _products(raw: Scalar, parameter: Parameter, sweep: SweepSpec) -> Iterator[tuple[Scalar, str]]:
    base = parameter.ratio_of
    if base is None or not isinstance(raw, int | float):
        yield raw, ""
        return
    for _, value in _possible_values(base, sweep):
        if isinstance(value, int | float):
            yield raw * value, f" ({raw} times {base} {value})"


def _possible_values(path: str, sweep: SweepSpec) -> Iterator[tuple[Path, Scalar | None]]:
    """The field's default where it can be in use, and what the search may put there."""
    parameter = sweep.search.parameters.get(path)
    if parameter is None or parameter.when:
        yield tuple(path.split(".")), get_field(sweep.trial, path)
    if parameter is not None and parameter.ratio_of is None:
        for inner, value in parameter.probes:
            yield (*_PARAMETERS, path, *inner), value


def _method(sweep: SweepSpec) -> Iterator[Finding]:
    """Plain LoRA is never pruned, so a search over methods prunes DropLoRA alone."""
    methods = [value for _, value in _possible_values("adapter.method", sweep)]
    searched = sweep.search.parameters.get("adapter.pruning_rate")
    if "lora" not in methods:
        return
    reads: tuple[Path, ...] = (("adapter", "method"), (*_PARAMETERS, "adapter.method"))
    may_be_lora = searched is not None and "lora" in searched.when.get("adapter.method", ("lora",))
    if searched is not None and may_be_lora:
        positive = [value for _, value in searched.probes if value]
        if positive:
            problem = (
                "must have `when: {adapter.method: droplora}`, since "
                f"`adapter.method` can be lora, which is not pruned, got {positive[-1]}"
            )
            yield Finding((*_PARAMETERS, "adapter.pruning_rate"), problem, reads)
    elif sweep.adapter.pruning_rate > 0:
        problem = (
            "must be 0, since `adapter.method` can be lora, which is not pruned, "
            f"got {sweep.adapter.pruning_rate}"
        )
        yield Finding(("adapter", "pruning_rate"), problem, reads)


def _num_trials(sweep: SweepSpec) -> Iterator[Finding]:
    if not sweep.search.queue_baselines:
        return
    num_baselines = len(baselines(sweep))
    if sweep.search.num_trials < num_baselines:
        problem = (
            f"must be at least {num_baselines}, the baselines that are queued first, "
            f"got {sweep.search.num_trials}"
        )
        yield Finding(("search", "num_trials"), problem, (_PARAMETERS,))
