"""What the files of a benchmark or of a training mixture hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from droplora_sweep.spec import local_folder

from .answers import gold_problems
from .folders import (
    SPLIT_NAMES,
    MissingDataError,
    SplitFiles,
    check_validation_file,
    download,
    find_split_files,
    missing_folder_problem,
)
from .formats import FORMATS
from .json_records import BadDataError
from .reading import read_file, text_problems
from .registry import find_benchmark
from .splits import Source, limit_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.spec import SplitName

    from .reading import FileContent
    from .registry import BenchmarkEntry
    from .task import Example


@dataclass(frozen=True)
class Contents:
    """A benchmark's examples, how its test split is read again, and what a user should know."""

    source: Source
    read_test: Callable[[], tuple[Example, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How files are read: the task's limits and policies.

    Attributes:
        skip_bad: Leave bad records out (``task.on_bad_record``).
        num_test: At most this many test examples.
        has_mixture: Whether a training mixture takes the place of training files.
    """

    skip_bad: bool
    num_test: int | None
    has_mixture: bool


def find_data(
    data: str,
    revision: str | None,
    entries: list[BenchmarkEntry],
    *,
    is_own: bool = False,
    revision_field: str = "task.revision",
) -> Path:
    """The local file or folder that ``data`` means, downloaded if it is a Hub id.

    Args:
        data: As in the spec.
        revision: Commit of a Hub id.
        entries: What is read from it.
        is_own: The data is one benchmark's own: it may be a file, or that benchmark's folder.
        revision_field: Where a user gives the commit.

    Raises:
        MissingDataError: It is neither here nor reachable.
    """
    path = local_folder(data)
    if path.is_dir() or (is_own and path.is_file()):
        return path
    if revision is None:
        raise MissingDataError(missing_folder_problem(path, revision_field))
    return download(data, revision, entries, is_own=is_own)


def read_benchmark(
    name: str,
    entry: BenchmarkEntry,
    path: Path,
    reading: Reading,
    *,
    is_own: bool = False,
    lone_split: SplitName = "train",
) -> Contents:
    """Reads all files of a benchmark.

    Raises:
        MissingDataError: A file that is needed is not there.
        BadDataError: With the problems of all files.
    """
    files = _files(entry, path, is_own=is_own, lone_split=lone_split)
    if not reading.has_mixture and entry.has_training_split:
        check_validation_file(files)
    examples: dict[str, tuple[Example, ...]] = {}
    problems: list[str] = []
    notes: list[str] = []
    for split in SPLIT_NAMES:
        file = getattr(files, split)
        if file is None:
            continue
        try:
            content = read_file(file, entry, split, skip_bad=reading.skip_bad)
        except BadDataError as error:
            problems += error.problems
            continue
        # A file of all splits need not have examples of each: none is as good as no file.
        if content.examples or FORMATS[entry.formats[0]].split_of is None:
            examples[split] = content.examples
        notes += _left_out(file, content)
        notes += _unexpected_size(file, split, len(content.examples), entry)
    if problems:
        # A file that holds several splits has the same problems in each.
        raise BadDataError(list(dict.fromkeys(problems)))
    return Contents(
        Source(name, examples.get("train"), examples.get("validation"), examples.get("test")),
        partial(_read_test, files.test, entry, reading.skip_bad, reading.num_test),
        tuple(dict.fromkeys(notes)),
    )


def read_plugin(
    name: str, entry: BenchmarkEntry, folder: Path | None, reading: Reading
) -> Contents:
    """Asks a plug-in's loader.

    Raises:
        BadDataError: It fails, or what it returns is no examples.
    """
    examples = _load(name, entry, folder)
    scorer = entry.scorer
    problems = [
        f"{name}/{split}[{index}]: {problem}"
        for split, some in examples.items()
        for index, example in enumerate(some)
        for problem in (*text_problems(example, {}), *gold_problems(example.answer, scorer))
    ]
    if problems:
        raise BadDataError(problems[:1])
    splits = {split: tuple(some) for split, some in examples.items()}
    return Contents(
        Source(name, splits.get("train"), splits.get("validation"), splits.get("test")),
        partial(_load_test, name, folder, reading.num_test),
    )


def read_mixture(
    entry: BenchmarkEntry, path: Path, *, skip_bad: bool
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """A training mixture's examples, and notes.

    Raises:
        MissingDataError: There is no such file.
        BadDataError: With the file's problems.
    """
    file: Path | None = path
    if path.is_dir():
        file = find_split_files(path, entry, is_own=True).train
        if file is None:
            wanted = " or ".join(("train.json", "train.jsonl", *entry.files.values()))
            raise MissingDataError(f"{path} must hold {wanted}, got neither")
    assert file is not None, "a path that is no folder is the file"
    content = read_file(file, entry, skip_bad=skip_bad)
    if not content.examples:
        raise BadDataError([f"{file}: must hold examples to train on, got none"])
    notes = _left_out(file, content)
    return content.examples, (
        *notes,
        *_unexpected_size(file, "train", len(content.examples), entry),
    )


def _files(entry: BenchmarkEntry, path: Path, *, is_own: bool, lone_split: SplitName) -> SplitFiles:
    if path.is_dir():
        return find_split_files(path, entry, is_own=is_own)
    names_splits = FORMATS[entry.formats[0]].split_of is not None
    if entry.formats[0] == "mbpp":
        return SplitFiles(path, path, path)
    # Questions for a judge have no responses to train on.
    is_test = names_splits or (entry.scorer.is_rated and lone_split == "train")
    held = "test" if is_test else lone_split
    return SplitFiles(**{split: path if split == held else None for split in SPLIT_NAMES})


def _read_test(
    path: Path | None, entry: BenchmarkEntry, skip_bad: bool, num_test: int | None
) -> tuple[Example, ...]:
    if path is None:
        return ()
    return limit_test(read_file(path, entry, "test", skip_bad=skip_bad).examples, num_test)


def _load(name: str, entry: BenchmarkEntry, folder: Path | None) -> dict[str, list[Example]]:
    assert entry.load is not None, "only plug-ins load by themselves"
    try:
        loaded = entry.load(folder)
    # Whatever a plug-in raises, the user needs to know which plug-in it was.
    except Exception as error:
        raise BadDataError([f"{name}: {type(error).__name__}: {error}"]) from error
    unknown = sorted(set(loaded) - set(SPLIT_NAMES))
    if unknown:
        problem = f"must return train, validation and test alone, got {', '.join(unknown)}"
        raise BadDataError([f"{name}: {problem}"])
    return {split: list(examples) for split, examples in loaded.items()}


def _load_test(name: str, folder: Path | None, num_test: int | None) -> tuple[Example, ...]:
    entry = find_benchmark(name)
    assert entry is not None, "it was there when the task was loaded"
    return limit_test(_load(name, entry, folder).get("test", []), num_test)


def _left_out(file: Path, content: FileContent) -> list[str]:
    notes = []
    if problems := content.problems:
        notes.append(f"{file}: {len(problems)} bad records are left out, the first: {problems[0]}")
    if content.num_cut:
        notes.append(f"{file}: {content.num_cut:,} conversations are read to their first answer")
    return notes


def _unexpected_size(file: Path, split: str, size: int, entry: BenchmarkEntry) -> list[str]:
    published = entry.published_sizes.get(split)
    if published is None or published == size:
        return []
    return [f"{file}: has {size:,} {split} examples, {published:,} are published"]
