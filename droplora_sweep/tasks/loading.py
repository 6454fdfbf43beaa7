"""From a task's spec to its data, or to every fault of it at once."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.scorers.corpus_metrics import reported
from droplora_sweep.scorers.harness import HarnessScorer
from droplora_sweep.spec.task import num_kept

from .answers import gold_problems
from .builtin.generation import generate
from .contents import Contents, Place, find_data, read_contents, read_mixture
from .entries import field_faults, find_entries, find_mixture, task_fault
from .harness import harness_digest
from .json_records import BadDataError
from .registry import BUILTIN_DATA_SEED, BenchmarkEntry
from .splits import Cut, Mixture, Source, Splits, cut_splits
from .task import Benchmark, Overlap, Task, TrainingSet, split_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from droplora_sweep.scorers.scorer import Scorer
    from droplora_sweep.spec import TaskSpec

    from .task import Example

_MADE_FROM: Final = {"GSM": "gsm8k", "MATH": "math"}
"""Benchmarks that MetaMathQA's examples were made from, by the beginning of their ``type``."""


@dataclass
class _Found:
    """A task's data and faults, as far as it has been read."""

    contents: dict[str, Contents] = field(default_factory=dict)
    mixture: tuple[Example, ...] | None = None
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def at(self, place: Place) -> Path:
        """Keep where data were found, by which texts about them name it; its path."""
        self.places.append(place)
        return place.path

    def as_given(self, text: str) -> str:
        """Return a text with URLs in place of the paths of their copies."""
        for place in self.places:
            text = place.as_given(text)
        return text

    def pins(self) -> dict[str, str]:
        """Return the digest of the content of each URL that was read."""
        return {place.given: place.pin for place in self.places if place.pin is not None}

    @contextlib.contextmanager
    def faults_of(self, place: str) -> Iterator[None]:
        """Keep the problems of bad data as faults of this field."""
        try:
            yield
        except BadDataError as error:
            problems = map(self.as_given, error.problems)
            self.faults += [task_fault(place, problem) for problem in problems]


def load_task(spec: TaskSpec) -> Task:
    """Read or generate the data of every benchmark of a task, and its training mixture.

    Test files are checked here too, so that a broken one is not met after the search, but their
    examples are dropped again: ``Benchmark.test`` reads them when asked.

    Raises:
        InputError: Anything about the benchmarks or their data is wrong. The faults name the
            spec's field, and data file and place in their text; ``where`` is left to the caller,
            who knows the file the spec was read from.
    """
    entries, faults = find_entries(spec)
    found = _Found(faults=faults)
    _read_benchmarks(spec, entries, found)
    _read_mixture(spec, found)
    if found.faults and not found.contents:
        raise InputError(found.faults)
    cut = _cut(spec, entries, found)
    benchmarks = _benchmarks(spec, entries, found, cut)
    data_sets: list[TrainingSet] = [*benchmarks]
    mixture = None
    if spec.train is not None and cut.mixture is not None:
        entries = {**entries, spec.train.name: find_mixture(spec)}
        entry = entries[spec.train.name]
        mixture = TrainingSet(
            name=spec.train.name,
            prompt_suffix=entry.prompt_suffix,
            train=cut.mixture.train,
            num_left_out=cut.mixture.num_left_out,
            num_beyond_limit=cut.mixture.num_beyond_limit,
            prompt=spec.prompt or entry.template,
            system=spec.system,
        )
        data_sets.append(mixture)
    if spec.on_overlap == "refuse":
        found.faults += [_overlap_fault(overlap) for overlap in cut.overlaps]
    if not found.faults:
        found.faults += _lacking(benchmarks, mixture)
    if found.faults:
        raise InputError(found.faults)
    # A prompt of the benchmark's own: ledgers hold no other than the spec's and the paper's.
    digests = {
        f"{name}/prompt": _sha256(entry.template + entry.prompt_suffix)
        for name, entry in entries.items()
        if spec.prompt is None and entry.template is not None
    }
    digests |= {
        f"{one.name}/scoring": digest
        for one in benchmarks
        if (digest := _scoring_digest(one.scorer)) is not None
    }
    digests |= {
        f"{one.name}/{split}": split_digest(examples)
        for one in data_sets
        for split, examples in one.splits().items()
    }
    return Task(
        spec.name,
        tuple(benchmarks),
        digests,
        mixture=mixture,
        overlaps=cut.overlaps,
        notes=tuple(map(found.as_given, found.notes)),
        pins=found.pins(),
    )


def _scoring_digest(scorer: Scorer) -> str | None:
    if isinstance(scorer, HarnessScorer):
        return harness_digest(scorer.settings)
    return scorer.code_digest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _lacking(benchmarks: list[Benchmark], mixture: TrainingSet | None) -> Iterator[Fault]:
    names = ", ".join(benchmark.name for benchmark in benchmarks)
    if mixture is None and not any(one.train for one in benchmarks):
        yield task_fault("benchmarks", f"{names} have no training examples")
    elif mixture is not None and not mixture.train:
        problem = f"must have examples that no benchmark holds, got none in {mixture.name}"
        yield task_fault("train", problem)
    elif not any(one.validation for one in benchmarks):
        problem = f"must have validation examples in one at least, got none in {names}"
        yield task_fault("benchmarks", problem)


def _read_benchmarks(spec: TaskSpec, entries: dict[str, BenchmarkEntry], found: _Found) -> None:
    """Read the benchmarks in ``task.data``, and those that have data of their own."""
    own = {name: one for name, one in spec.benchmark_specs.items() if one.data is not None}
    read = {name: entry for name, entry in entries.items() if not entry.is_builtin}
    shared = {
        name: entry for name, entry in read.items() if name not in own and entry.harness is None
    }
    for name in entries:
        if (entry := entries[name]).harness is not None:
            with found.faults_of(f"benchmarks.{name}.lm_eval"):
                found.contents[name] = read_contents(name, entry, None, spec)
    with found.faults_of("data"):
        folder = _find_shared(spec, shared, found)
        for name, entry in shared.items():
            with found.faults_of("data"):
                found.contents[name] = read_contents(name, entry, folder, spec)
    for name, one in own.items():
        if name not in read:
            continue
        with found.faults_of(f"benchmarks.{name}.data"):
            assert one.data is not None
            place = find_data(
                one.data,
                one.revision,
                [read[name]],
                is_own=True,
                configuration=one.configuration,
                revision_field=f"task.benchmarks.{name}.revision",
            )
            path = found.at(place)
            found.contents[name] = read_contents(
                name, read[name], path, spec, is_own=True, lone_split=one.split
            )


def _find_shared(spec: TaskSpec, entries: dict[str, BenchmarkEntry], found: _Found) -> Path | None:
    """Return the folder of ``task.data``; None where plug-ins alone are read.

    Raises:
        BadDataError: There is none, and a benchmark is read from it.
    """
    from_files = [name for name, entry in entries.items() if entry.load is None]
    if from_files and spec.data is None:
        raise BadDataError(
            f"must name the folder that holds {' and '.join(from_files)}, got null; "
            "e.g. --set task.data=FOLDER"
        )
    if not entries or spec.data is None:
        return None
    return found.at(find_data(spec.data, spec.revision, list(entries.values())))


def _read_mixture(spec: TaskSpec, found: _Found) -> None:
    if spec.train is None:
        return
    entry = find_mixture(spec)
    if faults := field_faults("train", entry):
        found.faults += faults
        return
    data, revision, place = spec.train.data, spec.train.revision, "task.train.revision"
    configuration = spec.train.configuration
    if data is None:
        data, revision, place = spec.data, spec.revision, "task.revision"
    published = f", published as {entry.published_as}" if entry.published_as else ""
    with found.faults_of("train.data"):
        if data is None:
            raise BadDataError(f"must name {spec.train.name}'s file, got null{published}")
        path = found.at(
            find_data(
                data,
                revision,
                [entry],
                is_own=True,
                configuration=configuration,
                revision_field=place,
            )
        )
        found.mixture, notes = read_mixture(entry, path, skip_bad=spec.on_bad_record == "skip")
        found.notes += notes


def _cut(spec: TaskSpec, entries: dict[str, BenchmarkEntry], found: _Found) -> Cut:
    sources = [found.contents[name].source for name in entries if name in found.contents]
    scorers = {name: entry.scorer for name, entry in entries.items()}

    def suits(name: str, example: Example) -> bool:
        made_from = _MADE_FROM.get((example.category or "").partition("_")[0], name)
        is_other = made_from != name and name in _MADE_FROM.values()
        if is_other or gold_problems(example.answer, scorers[name]):
            return False
        return scorers[name].may_validate(example.answer)

    mixture = None
    if spec.train is not None:
        mixture = Mixture(spec.train.name, found.mixture or (), suits)
    return cut_splits(
        sources,
        mixture,
        num_train=spec.num_train,
        train_share=spec.train_share,
        num_validation=spec.num_validation,
        num_confirmation=spec.num_confirmation or 0,
    )


def _benchmarks(
    spec: TaskSpec, entries: dict[str, BenchmarkEntry], found: _Found, cut: Cut
) -> list[Benchmark]:
    benchmarks = []
    for name, entry in entries.items():
        if entry.is_builtin:
            if too_few := _too_few_generated(name, entry, spec):
                found.faults.append(too_few)
                continue
            contents, splits, num_test = _generate(name, entry, spec)
        elif name in found.contents:
            contents, splits = found.contents[name], cut.splits[name]
            num_test = len((contents.source.test or ())[: spec.num_test])
            found.notes += contents.notes
            _check_splits(spec, contents.source, splits, found)
        else:
            continue
        benchmarks.append(
            Benchmark(
                name=name,
                scorer=entry.scorer,
                prompt_suffix=entry.prompt_suffix,
                max_new_tokens=entry.max_new_tokens,
                train=splits.train,
                validation=splits.validation,
                num_test=num_test,
                num_left_out=splits.num_left_out,
                num_beyond_limit=splits.num_beyond_limit,
                read_test=contents.read_test,
                prompt=entry.template if entry.harness else spec.prompt or entry.template,
                system=spec.system,
                confirmation=splits.confirmation,
                metrics=reported(entry.scorer, entry.metrics),
            )
        )
    return benchmarks


def _too_few_generated(name: str, entry: BenchmarkEntry, spec: TaskSpec) -> Fault | None:
    num_left = entry.published_sizes["validation"]
    if spec.num_validation > num_left:
        return _too_few(name, "validation", num_left, spec)
    num_left -= spec.num_validation
    if (spec.num_confirmation or 0) > num_left:
        return _too_few(name, "confirmation", num_left, spec)
    return None


def _generate(name: str, entry: BenchmarkEntry, spec: TaskSpec) -> tuple[Contents, Splits, int]:
    sizes = entry.published_sizes
    num_test = min(spec.num_test or sizes["test"], sizes["test"])
    num_train = num_kept(sizes["train"], 0 if spec.train else spec.num_train, spec.train_share)
    read_test = partial(generate, name, "test", num_test, BUILTIN_DATA_SEED)
    num_held_back = spec.num_validation + (spec.num_confirmation or 0)
    held_back = generate(name, "validation", num_held_back, BUILTIN_DATA_SEED)
    splits = Splits(
        train=generate(name, "train", num_train, BUILTIN_DATA_SEED),
        validation=held_back[: spec.num_validation],
        num_left_out=0,
        confirmation=held_back[spec.num_validation :],
    )
    return Contents(Source(name), read_test), splits, num_test


def _check_splits(spec: TaskSpec, source: Source, splits: Splits, found: _Found) -> None:
    name, num_validation = source.name, len(splits.validation)
    is_test_only = source.train is None and source.validation is None
    if is_test_only and not num_validation:
        if found.mixture is not None or spec.train is None:
            found.notes.append(f"{name}: is tested but not validated: it has no other examples")
    elif num_validation < spec.num_validation:
        found.faults.append(_too_few(name, "validation", num_validation, spec))
    elif len(splits.confirmation) < (spec.num_confirmation or 0):
        found.faults.append(_too_few(name, "confirmation", len(splits.confirmation), spec))
    elif source.train and not splits.train and spec.train is None:
        field = "num_confirmation" if spec.num_confirmation else "num_validation"
        held_back = spec.num_validation + (spec.num_confirmation or 0)
        problem = f"must leave {name} training examples, got {held_back}: all it has"
        found.faults.append(task_fault(field, problem))


def _too_few(
    name: str, split: Literal["validation", "confirmation"], num_available: int, spec: TaskSpec
) -> Fault:
    field = f"num_{split}"
    problem = f"{name} can give at most {num_available} {split} examples, got "
    problem += str(getattr(spec, field))
    if split == "confirmation":
        problem += f", beside {spec.num_validation} validation examples"
    return task_fault(field, problem)


def _overlap_fault(overlap: Overlap) -> Fault:
    num_shared = overlap.num_exact + overlap.num_normalised
    problem = (
        f"must be drop where splits share examples, got refuse: {overlap.split} shares "
        f"{num_shared} with {overlap.other}, {overlap.num_exact} of them exactly"
    )
    return task_fault("on_overlap", problem)
