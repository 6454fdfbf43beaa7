"""What a task holds if its files are as their publishers made them, before there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.spec.task import plugin_names

from .entries import find_entries
from .registry import MIXTURES

if TYPE_CHECKING:
    from droplora_sweep.spec import TaskSpec

    from .registry import BenchmarkEntry

_NEVER_CUT: Final = ("code",)
"""Scorings whose answers no training example has, so that none can validate."""


@dataclass(frozen=True)
class PublishedTask:
    """The sizes of a task whose data is not here.

    Attributes:
        splits: Examples of each benchmark and mixture by split, before overlaps are taken out.
        num_training_examples: What a trial trains on, at most.
        num_judged: Validation examples that a judge rates.
    """

    splits: dict[str, dict[str, int]]
    num_training_examples: int
    num_judged: int


def published_task(spec: TaskSpec) -> PublishedTask | None:
    """The task by its published sizes.

    Validation examples are counted as `tasks.splits` cuts them: from a validation file, else from
    the training file, else from the mixture, unless they are of code. What splits share is known
    of real files alone, so training splits are upper bounds.

    Args:
        spec: A task that names no data.

    Returns:
        None where all is here without ``task.data``, or something is not known by its name.
    """
    entries, faults = find_entries(spec)
    mixture = None if spec.train is None else MIXTURES.get(spec.train.name)
    needy = [
        name
        for name, entry in entries.items()
        if not entry.is_builtin and name not in plugin_names() and not _has_own_data(spec, name)
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
        splits[spec.train.name] = {"train": min(spec.num_train or num_train, num_train)}
    return PublishedTask(
        splits=splits,
        num_training_examples=sum(sizes.get("train", 0) for sizes in splits.values()),
        num_judged=sum(
            splits[name]["validation"]
            for name, entry in entries.items()
            if entry.scoring == "judge"
        ),
    )


def _is_judged(entry: BenchmarkEntry | None) -> bool:
    return entry is not None and entry.scoring == "judge"


def _has_own_data(spec: TaskSpec, name: str) -> bool:
    own = spec.benchmark_specs.get(name)
    return own is not None and own.data is not None


def _split(entry: BenchmarkEntry, spec: TaskSpec, *, in_mixture: bool) -> dict[str, int]:
    sizes = entry.published_sizes
    num_train, num_test = sizes.get("train", 0), sizes.get("test", 0)
    pool = sizes.get("validation", num_train)
    if in_mixture:
        pool = sizes.get("validation", 0) + num_train
        if not pool and entry.scoring not in _NEVER_CUT:
            pool = spec.num_validation
    num_validation = min(spec.num_validation, pool)
    if in_mixture:
        num_train = 0
    elif "validation" not in sizes:
        num_train -= num_validation
    return {
        "train": min(spec.num_train or num_train, num_train),
        "validation": num_validation,
        "test": min(spec.num_test or num_test, num_test),
    }
