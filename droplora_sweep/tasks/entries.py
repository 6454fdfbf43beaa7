"""Entries of a task's benchmarks and mixture, and the sizes of its published files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.errors import Fault
from droplora_sweep.plugins import PluginError
from droplora_sweep.scorers.corpus_metrics import CORPUS_METRICS
from droplora_sweep.scorers.harness import HarnessSettings
from droplora_sweep.scorers.own import CommandScorer
from droplora_sweep.spec import BenchmarkSpec
from droplora_sweep.spec.task import CHAT, num_kept, plugin_names, unknown_benchmark

from .formats import FORMATS, IN_CONVERSATIONS
from .harness import load_examples
from .reading import formats_with
from .registry import MIXTURES, BenchmarkEntry, find_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.scorers.scorer import Scorer
    from droplora_sweep.spec import Format, TaskSpec

    from .task import Example


_OWN_FORMATS: Final[tuple[Format, ...]] = ("llm_adapters", *IN_CONVERSATIONS)
"""Layouts of a benchmark or a mixture of the user's own."""


def find_entries(spec: TaskSpec) -> tuple[dict[str, BenchmarkEntry], list[Fault]]:
    """Return the entry of each benchmark, by name, and the faults of the others."""
    entries: dict[str, BenchmarkEntry] = {}
    faults: list[Fault] = []
    is_default_used = False
    for name in dict.fromkeys(spec.benchmarks):
        if spec.benchmarks.count(name) > 1:
            problem = f"must name each benchmark once, got {name} twice"
            faults.append(task_fault("benchmarks", problem))
        changes = spec.benchmark_specs.get(name)
        try:
            known = find_benchmark(name)
        except PluginError as error:
            faults.append(task_fault("benchmarks", str(error)))
            continue
        if known is None and changes is None and spec.scoring is None:
            faults.append(task_fault("benchmarks", unknown_benchmark(name)))
            continue
        changes = changes or BenchmarkSpec()
        if changes.lm_eval is not None:
            if spec.prompt == CHAT:
                problem = f"must be left out for {name}, a task of lm_eval with prompts of its own"
                faults.append(task_fault("prompt", f"{problem}, got {CHAT}"))
            entries[name] = _harness_entry(changes)
            continue
        is_default_used |= known is None and changes.scoring is None
        entry = _changed(
            known or BenchmarkEntry(spec.scoring, folders=(name,), formats=_OWN_FORMATS),
            scoring=changes.scoring,
            options=changes.options or None,
            pattern=changes.pattern,
            prompt_suffix=changes.prompt_suffix,
            max_new_tokens=changes.max_new_tokens,
            formats=(changes.format,) if changes.format else None,
            fields=changes.fields or None,
            is_chat=spec.prompt == CHAT,
            splits=changes.splits or None,
            command=changes.command or None,
            command_timeout_s=changes.command_timeout_s,
            direction=changes.direction,
            metrics=changes.metrics or None,
        )
        broken = [*_broken_rules(name, entry, changes), *field_faults(f"benchmarks.{name}", entry)]
        faults += broken
        if not broken:
            entries[name] = entry
    if spec.scoring is not None and not is_default_used:
        problem = (
            f"must be left out where every benchmark is known or says its own, got {spec.scoring!r}"
        )
        faults.append(task_fault("scoring", problem))
    return entries, faults


def _harness_entry(spec: BenchmarkSpec) -> BenchmarkEntry:
    """Return the entry of a task of lm-evaluation-harness, which has its own prompts and data."""
    assert spec.lm_eval is not None, "a harness task is named"
    settings = HarnessSettings(
        task=spec.lm_eval,
        num_fewshot=spec.num_fewshot,
        limit=spec.limit,
        metric=spec.metric,
        is_validation=spec.split == "validation",
    )
    return BenchmarkEntry(
        scoring="lm_eval",
        prompt_suffix="",
        template="{instruction}",
        max_new_tokens=spec.max_new_tokens,
        harness=settings,
        load=partial(_load_harness, settings),
    )


def _load_harness(settings: HarnessSettings, folder: Path | None) -> dict[str, tuple[Example, ...]]:
    del folder
    return load_examples(settings)


def find_mixture(spec: TaskSpec) -> BenchmarkEntry:
    """Return the entry of a task's training mixture."""
    train = spec.train
    assert train is not None, "a task without a mixture trains on its benchmarks"
    entry = MIXTURES.get(train.name) or BenchmarkEntry(
        scoring=None, folders=(train.name,), formats=_OWN_FORMATS
    )
    return _changed(
        entry,
        formats=(train.format,) if train.format else None,
        prompt_suffix=train.prompt_suffix,
        fields=train.fields or None,
        is_chat=spec.prompt == CHAT,
        splits=train.splits or None,
    )


def field_faults(place: str, entry: BenchmarkEntry) -> list[Fault]:
    """Return faults of fields whose names are given, and that the records do not have.

    Args:
        place: The section that names them, below ``task``.
        entry: Entry of the benchmark or the mixture, as the section changes it.
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


def _changed(entry: BenchmarkEntry, **changes: Any) -> BenchmarkEntry:
    """Return the entry with what a spec gives; None keeps what is known."""
    return replace(entry, **{name: value for name, value in changes.items() if value is not None})


def _broken_rules(name: str, entry: BenchmarkEntry, spec: BenchmarkSpec) -> list[Fault]:
    field = f"benchmarks.{name}"
    if entry.scoring is None:
        problem = f"must be given for {name}, which is not known, here or as `task.scoring`"
        return [task_fault(f"{field}.scoring", problem)]
    try:
        scorer = entry.scorer
    except PluginError as error:
        is_own = spec.scoring is not None
        return [task_fault(f"{field}.scoring" if is_own else "benchmarks", str(error))]
    needs = scorer.needs
    if isinstance(scorer, CommandScorer) and not scorer.command:
        problem = "must be given for `scoring: command`, got none"
        return [task_fault(f"{field}.command", problem)]
    if metric := _unfit_metric(scorer, spec):
        return [task_fault(f"{field}.metrics", metric)]
    if "pattern" in needs and entry.pattern is None:
        problem = f"must be given for `scoring: {entry.scoring}`, got null"
        return [task_fault(f"{field}.pattern", problem)]
    if "pattern" not in needs and spec.pattern is not None:
        problem = f"must be left out unless `scoring: regex`, got {spec.pattern!r}"
        return [task_fault(f"{field}.pattern", problem)]
    if "options" in needs and len(entry.options) < 2:
        got = ", ".join(entry.options) or "none"
        problem = f"must be at least two for `scoring: {entry.scoring}`, got {got}"
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


def _unfit_metric(scorer: Scorer, spec: BenchmarkSpec) -> str | None:
    """Return why a metric of the spec cannot be measured, if one cannot."""
    if not spec.metrics:
        return None
    if scorer.runs_code or scorer.is_rated:
        problem = "must be left out where code is run or a judge rates, got "
        return problem + ", ".join(spec.metrics)
    for name in spec.metrics:
        metric = CORPUS_METRICS[name]
        if metric.is_missing:
            installed = "which is not installed: pip install 'droplora-sweep[metrics]'"
            return f"needs {metric.package}, {installed}, got {name}"
    return None


@dataclass(frozen=True)
class PublishedTask:
    """The sizes of a task whose data is not here.

    Attributes:
        splits: Examples of each benchmark and mixture by split, before overlaps are taken out.
        num_training_examples: Most examples that a trial trains on.
        num_judged: Validation examples that a judge rates.
    """

    splits: dict[str, dict[str, int]]
    num_training_examples: int
    num_judged: int


def published_task(spec: TaskSpec) -> PublishedTask | None:
    """Return the task by its published sizes.

    Validation examples are counted as `tasks.splits` cuts them: from a validation file, else from
    the training file, else from the mixture, unless they are of code. What splits share is known
    of real files alone, so training splits are upper bounds.

    Args:
        spec: A task that names no data.

    Returns:
        None where no data is missing, or a size is not published.
    """
    entries, faults = find_entries(spec)
    mixture = None if spec.train is None else MIXTURES.get(spec.train.name)
    needy = [
        name
        for name, entry in entries.items()
        if not entry.is_builtin
        and name not in plugin_names()
        and not _has_own_data(spec, name)
        and entry.harness is None
    ]
    lacks_mixture = spec.train is not None and spec.train.data is None
    if faults or spec.data is not None or not (needy or lacks_mixture):
        return None
    if len(needy) < len(entries) or any(not entries[name].published_sizes for name in needy):
        return None
    if spec.train is not None and (mixture is None or not lacks_mixture):
        return None
    splits, num_cut = {}, 0
    for name, entry in entries.items():
        splits[name] = _split(entry, spec, in_mixture=mixture is not None)
        if mixture is not None and not {"train", "validation"} & entry.published_sizes.keys():
            num_cut += splits[name]["validation"]
    if mixture is not None:
        assert spec.train is not None
        num_train = mixture.published_sizes["train"] - num_cut
        splits[spec.train.name] = {"train": num_kept(num_train, spec.num_train, spec.train_share)}
    return PublishedTask(
        splits=splits,
        num_training_examples=sum(sizes.get("train", 0) for sizes in splits.values()),
        num_judged=sum(
            splits[name]["validation"] for name, entry in entries.items() if entry.scorer.is_rated
        ),
    )


def _has_own_data(spec: TaskSpec, name: str) -> bool:
    own = spec.benchmark_specs.get(name)
    return own is not None and own.data is not None


def _split(entry: BenchmarkEntry, spec: TaskSpec, *, in_mixture: bool) -> dict[str, int]:
    sizes = entry.published_sizes
    num_train, num_test = sizes.get("train", 0), sizes.get("test", 0)
    pool = sizes.get("validation", num_train)
    if in_mixture:
        pool = sizes.get("validation", 0) + num_train
        if not pool and not entry.scorer.runs_code:
            pool = spec.num_validation
    num_validation = min(spec.num_validation, pool)
    if in_mixture:
        num_train = 0
    elif "validation" not in sizes:
        num_train -= num_validation
    return {
        "train": num_kept(num_train, spec.num_train, spec.train_share),
        "validation": num_validation,
        "test": min(spec.num_test or num_test, num_test),
    }
