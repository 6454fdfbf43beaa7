"""From a task's spec to its data, or to every fault of it at once."""

from __future__ import annotations

import difflib
from functools import partial
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.spec import local_folder

from .builtin import generate
from .folders import (
    MissingDataError,
    SplitFiles,
    download,
    find_split_files,
    missing_folder_problem,
)
from .reading import BadDataError, read_examples
from .registry import BENCHMARKS, BUILTIN_DATA_SEED, BenchmarkEntry
from .splits import Splits, cut_splits, limit_test
from .task import Benchmark, Task, split_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.spec import TaskSpec

    from .records import Example


def load_task(spec: TaskSpec) -> Task:
    """Reads or generates the data of every benchmark of a task.

    Test files are checked here too, so that a broken one is not met after the search, but their
    examples are dropped again: ``Benchmark.test`` reads them when asked.

    Raises:
        InputError: Anything about the benchmarks or their data is wrong. The faults name the
            spec's field, and data file and place in their text; ``where`` is left to the caller,
            who knows the file the spec was read from.
    """
    faults = _name_faults(spec.benchmarks)
    names = [name for name in dict.fromkeys(spec.benchmarks) if name in BENCHMARKS]
    try:
        data = _data_folder(spec, [name for name in names if not BENCHMARKS[name].is_builtin])
    except MissingDataError as error:
        faults.append(_fault("data", str(error)))
        data = None
    benchmarks = []
    for name in names:
        try:
            if BENCHMARKS[name].is_builtin:
                benchmarks.append(_generate_benchmark(name, spec))
            elif data is not None:
                benchmarks.append(_read_benchmark(name, spec, data))
        except (BadDataError, MissingDataError) as error:
            faults += [_fault("data", problem) for problem in str(error).splitlines()]
        except InputError as error:
            faults += error.faults
    if not faults and not any(benchmark.train for benchmark in benchmarks):
        faults.append(_fault("benchmarks", f"{', '.join(names)} have no training examples"))
    if faults:
        raise InputError(faults)
    digests = {
        f"{benchmark.name}/{split}": split_digest(examples)
        for benchmark in benchmarks
        for split, examples in (("train", benchmark.train), ("validation", benchmark.validation))
    }
    return Task(spec.name, tuple(benchmarks), digests)


def _fault(field: str, problem: str) -> Fault:
    return Fault(where="", field=f"task.{field}", problem=problem)


def _name_faults(names: tuple[str, ...]) -> list[Fault]:
    faults = []
    for name in dict.fromkeys(names):
        if name not in BENCHMARKS:
            close = difflib.get_close_matches(name.lower(), BENCHMARKS, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(BENCHMARKS)}"
            faults.append(_fault("benchmarks", f"unknown benchmark {name!r}; {hint}"))
        if names.count(name) > 1:
            faults.append(_fault("benchmarks", f"must name each benchmark once, got {name} twice"))
    return faults


def _data_folder(spec: TaskSpec, names: list[str]) -> Path | None:
    """The folder that holds ``names``'s folders; None if no benchmark needs one."""
    if not names:
        return None
    if spec.data is None:
        raise MissingDataError(
            f"must name the folder that holds {' and '.join(names)}, got null; "
            "e.g. --set task.data=FOLDER"
        )
    folder = local_folder(spec.data)
    if folder.is_dir():
        return folder
    if spec.revision is None:
        raise MissingDataError(missing_folder_problem(folder))
    folders = [folder for name in names for folder in BENCHMARKS[name].folders]
    return download(spec.data, spec.revision, folders)


def _generate_benchmark(name: str, spec: TaskSpec) -> Benchmark:
    sizes = BENCHMARKS[name].published_sizes
    if spec.num_validation > sizes["validation"]:
        raise InputError([_too_few_fault(name, sizes["validation"], spec.num_validation)])
    num_test = min(spec.num_test or sizes["test"], sizes["test"])
    num_train = min(spec.num_train or sizes["train"], sizes["train"])
    return _benchmark(
        name,
        Splits(
            train=generate(name, "train", num_train, BUILTIN_DATA_SEED),
            validation=generate(name, "validation", spec.num_validation, BUILTIN_DATA_SEED),
            num_left_out=0,
        ),
        num_test=num_test,
        read_test=partial(generate, name, "test", num_test, BUILTIN_DATA_SEED),
    )


def _read_benchmark(name: str, spec: TaskSpec, data: Path) -> Benchmark:
    entry = BENCHMARKS[name]
    files = find_split_files(data, entry.folders)
    train_file, validation_file, test_file = _read_all(files, entry)
    splits = cut_splits(
        train_file or (),
        validation_file,
        test_file or (),
        num_train=spec.num_train,
        num_validation=spec.num_validation,
    )
    if len(splits.validation) < spec.num_validation:
        raise InputError([_too_few_fault(name, len(splits.validation), spec.num_validation)])
    if train_file and not splits.train:
        raise InputError([_no_training_fault(name, spec.num_validation)])
    test = limit_test(test_file or (), spec.num_test)
    return _benchmark(
        name,
        splits,
        num_test=len(test),
        read_test=partial(_read_test, files.test, entry, spec.num_test),
    )


def _benchmark(
    name: str, splits: Splits, *, num_test: int, read_test: Callable[[], tuple[Example, ...]]
) -> Benchmark:
    entry = BENCHMARKS[name]
    return Benchmark(
        name=name,
        scoring=entry.scoring,
        options=entry.options,
        prompt_suffix=entry.prompt_suffix,
        max_new_tokens=entry.max_new_tokens,
        train=splits.train,
        validation=splits.validation,
        num_test=num_test,
        num_left_out=splits.num_left_out,
        read_test=read_test,
    )


def _read_all(files: SplitFiles, entry: BenchmarkEntry) -> tuple[tuple[Example, ...] | None, ...]:
    """Training, validation and test file; None where there is none.

    Raises:
        BadDataError: With the problems of all three.
    """
    contents: list[tuple[Example, ...] | None] = []
    problems: list[str] = []
    for path in (files.train, files.validation, files.test):
        try:
            contents.append(read_examples(path, entry) if path else None)
        except BadDataError as error:
            problems += error.problems
    if problems:
        raise BadDataError(problems)
    return tuple(contents)


def _read_test(
    path: Path | None, entry: BenchmarkEntry, num_test: int | None
) -> tuple[Example, ...]:
    return limit_test(read_examples(path, entry), num_test) if path else ()


def _too_few_fault(name: str, num_available: int, num_wanted: int) -> Fault:
    return _fault(
        "num_validation",
        f"{name} can give at most {num_available} validation examples, got {num_wanted}",
    )


def _no_training_fault(name: str, num_validation: int) -> Fault:
    return _fault(
        "num_validation", f"must leave {name} training examples, got {num_validation}: all it has"
    )
