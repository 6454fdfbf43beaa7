"""Contents of the files of a benchmark or of a training mixture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from droplora_sweep.fetching.errors import FetchError
from droplora_sweep.fetching.fetch import fetch
from droplora_sweep.spec import local_folder
from droplora_sweep.spec.locations import is_url

from .answers import gold_problems
from .arrow_records import is_saved_data_set
from .folders import SPLIT_NAMES, SplitFiles, find_split_files, missing_folder_problem
from .formats import FORMATS
from .hub import download, prepare_splits
from .json_records import BadDataError
from .reading import read_file, text_problems
from .splits import Source, limit_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.spec import SplitName, TaskSpec

    from .reading import FileContent
    from .registry import BenchmarkEntry
    from .task import Example


@dataclass(frozen=True)
class Contents:
    """A benchmark's examples, how its test split is read again, and notes for the user."""

    source: Source
    read_test: Callable[[], tuple[Example, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """The local place of data that a spec names.

    Attributes:
        path: File or folder.
        given: As the spec names it.
        pin: Digest of its content, where it is a copy of what a URL has.
    """

    path: Path
    given: str
    pin: str | None = None

    def as_given(self, text: str) -> str:
        """Return a text about the copy as one about the URL."""
        if self.pin is None:
            return text
        return text.replace(str(self.path), self.given.partition("?")[0])


def find_data(
    data: str,
    revision: str | None,
    entries: list[BenchmarkEntry],
    *,
    is_own: bool = False,
    configuration: str | None = None,
    revision_field: str = "task.revision",
) -> Place:
    """Return the local file or folder that ``data`` names, fetched if it is a URL or a Hub id.

    Args:
        data: As in the spec.
        revision: Commit of a Hub id, or digest of a URL's content.
        entries: Benchmarks that are read from it.
        is_own: True where it is one benchmark's own: a file, or that benchmark's folder.
        configuration: Configuration of a Hub id that is one benchmark's own.
        revision_field: Field in which a user gives the commit.

    Raises:
        BadDataError: It is neither here nor reachable.
    """
    if is_url(data):
        try:
            fetched = fetch(data, revision)
        except FetchError as error:
            raise BadDataError(str(error)) from error
        if not is_own and fetched.path.is_file():
            raise BadDataError(f"must be a folder, got the file {data.partition('?')[0]}")
        return Place(fetched.path, data, fetched.pin)
    path = local_folder(data)
    if path.is_dir() or (is_own and path.is_file()):
        return Place(path, data)
    if revision is None:
        raise BadDataError(missing_folder_problem(path, revision_field))
    if not is_own:
        return Place(download(data, revision, entries), data)
    return Place(_download_own(data, revision, configuration, entries[0]), data)


def _download_own(
    repository: str, revision: str, configuration: str | None, entry: BenchmarkEntry
) -> Path:
    """Return a folder of a benchmark's own data set of the Hub.

    Files of the usual names are read as they are; ``datasets`` reads all other data sets.
    """
    if configuration is None and not entry.splits:
        folder = download(repository, revision, [entry], is_own=True)
        if any(file.is_file() for file in folder.rglob("*")):
            return folder
    return prepare_splits(repository, revision, configuration, entry.splits)


def read_contents(
    name: str,
    entry: BenchmarkEntry,
    path: Path | None,
    spec: TaskSpec,
    *,
    is_own: bool = False,
    lone_split: SplitName = "train",
) -> Contents:
    """Read all files of a benchmark, or ask the plug-in that brings it.

    Args:
        name: The benchmark's.
        entry: Its entry in the table, as the spec changes it.
        path: File or folder; None for a plug-in that needs none.
        spec: The task's limits and policies.
        is_own: True where ``path`` is this benchmark's own.
        lone_split: The split that ``path`` holds, if it is a file.

    Raises:
        BadDataError: With the problems of all files.
    """
    skip_bad = spec.on_bad_record == "skip"
    if entry.load is not None:
        examples = _load(name, entry, path)
        read_test = partial(_load_test, name, entry, path, spec.num_test)
        notes: list[str] = []
    else:
        assert path is not None, "a benchmark's files have a folder"
        files = _files(entry, path, is_own=is_own, lone_split=lone_split)
        if spec.train is None and entry.has_training_split:
            files.check_validation()
        examples, notes = _read_files(files, entry, skip_bad=skip_bad)
        read_test = partial(_read_test, files.test, entry, skip_bad, spec.num_test)
    return Contents(Source(name, **examples), read_test, tuple(dict.fromkeys(notes)))


def read_mixture(
    entry: BenchmarkEntry, path: Path, *, skip_bad: bool
) -> tuple[tuple[Example, ...], list[str]]:
    """Return a training mixture's examples, and notes.

    Raises:
        BadDataError: There is no such file, or it has problems.
    """
    file: Path | None = path
    if path.is_dir() and not is_saved_data_set(path):
        file = find_split_files(path, entry, is_own=True).train
        if file is None:
            wanted = " or ".join(("train.json", "train.jsonl", *entry.files.values()))
            raise BadDataError(f"{path} must hold {wanted}, got neither")
    assert file is not None, "a path that is no folder is the file"
    content = read_file(file, entry, skip_bad=skip_bad)
    if not content.examples:
        raise BadDataError(f"{file}: must hold examples to train on, got none")
    return content.examples, _notes(file, "train", content, entry)


def _files(entry: BenchmarkEntry, path: Path, *, is_own: bool, lone_split: SplitName) -> SplitFiles:
    if path.is_dir() and not (is_own and is_saved_data_set(path)):
        return find_split_files(path, entry, is_own=is_own)
    if entry.formats[0] == "mbpp":
        return SplitFiles(path, path, path)
    names_splits = FORMATS[entry.formats[0]].split_of is not None
    # Questions for a judge have no responses to train on.
    is_test = names_splits or (entry.scorer.is_rated and lone_split == "train")
    held = "test" if is_test else lone_split
    return SplitFiles(**{split: path if split == held else None for split in SPLIT_NAMES})


def _read_files(
    files: SplitFiles, entry: BenchmarkEntry, *, skip_bad: bool
) -> tuple[dict[str, tuple[Example, ...]], list[str]]:
    """Return the examples of each split that has a file, and notes."""
    examples: dict[str, tuple[Example, ...]] = {}
    problems: list[str] = []
    notes: list[str] = []
    for split in SPLIT_NAMES:
        file = getattr(files, split)
        if file is None:
            continue
        try:
            content = read_file(file, entry, split, skip_bad=skip_bad)
        except BadDataError as error:
            problems += error.problems
            continue
        # A file of all splits need not have examples of each: none is as good as no file.
        if content.examples or FORMATS[entry.formats[0]].split_of is None:
            examples[split] = content.examples
        notes += _notes(file, split, content, entry)
    if problems:
        # A file that holds several splits has the same problems in each.
        raise BadDataError(*dict.fromkeys(problems))
    return examples, notes


def _read_test(
    path: Path | None, entry: BenchmarkEntry, skip_bad: bool, num_test: int | None
) -> tuple[Example, ...]:
    if path is None:
        return ()
    return limit_test(read_file(path, entry, "test", skip_bad=skip_bad).examples, num_test)


def _load(name: str, entry: BenchmarkEntry, folder: Path | None) -> dict[str, tuple[Example, ...]]:
    """Call a plug-in's loader, and check what it returns."""
    assert entry.load is not None, "only plug-ins load by themselves"
    try:
        loaded = entry.load(folder)
    except BadDataError:
        raise
    # Whatever a plug-in raises, the user needs to know which plug-in it was.
    except Exception as error:
        raise BadDataError(f"{name}: {type(error).__name__}: {error}") from error
    if unknown := sorted(set(loaded) - set(SPLIT_NAMES)):
        problem = f"must return train, validation and test alone, got {', '.join(unknown)}"
        raise BadDataError(f"{name}: {problem}")
    scorer = entry.scorer
    for split, examples in loaded.items():
        for index, example in enumerate(examples):
            for problem in (*text_problems(example, {}), *gold_problems(example.answer, scorer)):
                raise BadDataError(f"{name}/{split}[{index}]: {problem}")
    return {split: tuple(examples) for split, examples in loaded.items()}


def _load_test(
    name: str, entry: BenchmarkEntry, folder: Path | None, num_test: int | None
) -> tuple[Example, ...]:
    return limit_test(_load(name, entry, folder).get("test", ()), num_test)


def _notes(file: Path, split: str, content: FileContent, entry: BenchmarkEntry) -> list[str]:
    notes = []
    if problems := content.problems:
        notes.append(f"{file}: {len(problems)} bad records are left out, the first: {problems[0]}")
    if content.num_cut:
        notes.append(
            f"{file}: {content.num_cut:,} conversations are read to their first answer; "
            "`task.prompt: chat` reads them whole"
        )
    if content.title:
        with_system = sum(one.system is not None for one in content.examples)
        with_turns = sum(bool(one.history) for one in content.examples)
        notes.append(
            f"{file}: read as {content.title}: {len(content.examples):,} conversations, "
            f"{with_turns:,} of several turns, {with_system:,} with a system's text"
        )
    published, size = entry.published_sizes.get(split), len(content.examples)
    if published not in (None, size):
        notes.append(f"{file}: has {size:,} {split} examples, {published:,} are published")
    return notes
