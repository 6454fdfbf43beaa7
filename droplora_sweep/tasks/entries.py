"""From a task's spec to what is known of its benchmarks and its mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault
from droplora_sweep.spec import BenchmarkSpec
from droplora_sweep.spec.task import unknown_benchmark

from .formats import FORMATS, IN_CONVERSATIONS
from .plugins import BadPluginError, load_plugin
from .reading import formats_with
from .registry import BENCHMARKS, MIXTURES, BenchmarkEntry

if TYPE_CHECKING:
    from droplora_sweep.spec import TaskSpec, TrainSpec


def find_entries(spec: TaskSpec) -> tuple[dict[str, BenchmarkEntry], list[Fault]]:
    """The entry of each benchmark, by name, and what is wrong with the others."""
    entries: dict[str, BenchmarkEntry] = {}
    faults: list[Fault] = []
    is_default_used = False
    for name in dict.fromkeys(spec.benchmarks):
        if spec.benchmarks.count(name) > 1:
            problem = f"must name each benchmark once, got {name} twice"
            faults.append(task_fault("benchmarks", problem))
        changes = spec.benchmark_specs.get(name)
        try:
            known = BENCHMARKS.get(name) or load_plugin(name)
        except BadPluginError as error:
            faults.append(task_fault("benchmarks", str(error)))
            continue
        if known is None and changes is None and spec.scoring is None:
            faults.append(task_fault("benchmarks", unknown_benchmark(name)))
            continue
        entry = known or BenchmarkEntry(scoring=spec.scoring, folders=(name,))
        is_default_used |= known is None and (changes is None or changes.scoring is None)
        if changes is not None or known is None:
            changes = changes or BenchmarkSpec()
            entry = _changed(entry, changes)
            faults += _broken_rules(name, entry, changes)
            if wrong := field_faults(f"benchmarks.{name}", entry):
                faults += wrong
                continue
        entries[name] = entry
    if spec.scoring is not None and not is_default_used:
        problem = (
            f"must be left out where every benchmark is known or says its own, got {spec.scoring!r}"
        )
        faults.append(task_fault("scoring", problem))
    return entries, faults


def find_mixture(train: TrainSpec) -> BenchmarkEntry:
    """The entry of the training mixture."""
    entry = MIXTURES.get(train.name) or BenchmarkEntry(
        scoring=None, folders=(train.name,), formats=("llm_adapters", *IN_CONVERSATIONS)
    )
    changes: dict[str, Any] = {
        "formats": (train.format,) if train.format else None,
        "prompt_suffix": train.prompt_suffix,
        "fields": train.fields or None,
    }
    return replace(entry, **{name: value for name, value in changes.items() if value is not None})


def field_faults(place: str, entry: BenchmarkEntry) -> list[Fault]:
    """Fields whose names are given, and that the records have not.

    Args:
        place: The section that names them, below ``task``.
        entry: What the section makes of the benchmark or the mixture.
    """
    if not entry.fields or formats_with(entry.fields, entry.formats):
        return []
    layout = entry.formats[0]
    roles = FORMATS[layout].roles
    return [
        task_fault(
            f"{place}.fields.{field}",
            f"must be one of {', '.join(roles)} with `format: {layout}`, got {field}",
        )
        for field in entry.fields
        if field not in roles
    ]


def task_fault(field: str, problem: str) -> Fault:
    """A fault of a field of the task, whose place in its file the caller knows."""
    return Fault(where="", field=f"task.{field}", problem=problem)


def _changed(entry: BenchmarkEntry, spec: BenchmarkSpec) -> BenchmarkEntry:
    changes: dict[str, Any] = {
        "scoring": spec.scoring,
        "options": spec.options or None,
        "pattern": spec.pattern,
        "prompt_suffix": spec.prompt_suffix,
        "max_new_tokens": spec.max_new_tokens,
        "formats": (spec.format,) if spec.format else None,
        "fields": spec.fields or None,
    }
    return replace(entry, **{name: value for name, value in changes.items() if value is not None})


def _broken_rules(name: str, entry: BenchmarkEntry, spec: BenchmarkSpec) -> list[Fault]:
    field = f"benchmarks.{name}"
    if entry.scoring is None:
        problem = f"must be given for {name}, which is not known, here or as `task.scoring`"
        return [task_fault(f"{field}.scoring", problem)]
    if entry.scoring == "regex" and entry.pattern is None:
        problem = "must be given for `scoring: regex`, got null"
        return [task_fault(f"{field}.pattern", problem)]
    if entry.scoring != "regex" and spec.pattern is not None:
        problem = f"must be left out unless `scoring: regex`, got {spec.pattern!r}"
        return [task_fault(f"{field}.pattern", problem)]
    if entry.scoring == "choice" and len(entry.options) < 2:
        got = ", ".join(entry.options) or "none"
        problem = f"must be at least two for `scoring: choice`, got {got}"
        return [task_fault(f"{field}.options", problem)]
    if spec.data is not None and entry.is_builtin:
        problem = f"must be left out for {name}, which is generated, got {spec.data!r}"
        return [task_fault(f"{field}.data", problem)]
    if spec.fields and (entry.is_builtin or entry.load is not None):
        whence = "is generated" if entry.is_builtin else "its plug-in reads"
        problem = f"must be left out for {name}, which {whence}, got {', '.join(spec.fields)}"
        return [task_fault(f"{field}.fields", problem)]
    if entry.is_builtin and spec.scoring is not None:
        problem = f"must be left out for {name}, which is generated, got {spec.scoring!r}"
        return [task_fault(f"{field}.scoring", problem)]
    return []
