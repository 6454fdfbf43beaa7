"""Places of a benchmark's files in a local folder."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .json_records import BadDataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from droplora_sweep.spec.task import SplitName

    from .registry import BenchmarkEntry

SUFFIXES: Final = (
    *(".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet"),
    *(".csv", ".tsv", ".csv.gz", ".tsv.gz"),
    *(".arrow", ".feather", ".ndjson", ".ndjson.gz"),
)
SHARD_SUFFIXES: Final = (".parquet", ".arrow")
SPLIT_NAMES: Final[tuple[SplitName, ...]] = ("train", "validation", "test")
PARQUET_FOLDER: Final = "data"
"""Folder of the Hub's own conversions to parquet."""


@dataclass(frozen=True)
class SplitFiles:
    """Files of a benchmark's splits; None for a split without one.

    Attributes:
        train: Examples to train on.
        validation: Examples to search with.
        test: Examples to score winners on.
        folder: Place where they were looked for; None for a lone file.
    """

    train: Path | None
    validation: Path | None
    test: Path | None
    folder: Path | None = None

    def check_validation(self) -> None:
        """Refuse a benchmark that a search could not choose on.

        Raises:
            BadDataError: There is neither a training nor a validation file.
        """
        if self.train is None and self.validation is None:
            found = self.test.name if self.test else _what_is_in(self.folder)
            raise BadDataError(
                f"{self.folder or self.test} must hold train.json or validation.json (or .jsonl, "
                f".csv, .tsv, .parquet, .arrow), got {found}: a task needs a validation split, "
                "which is never taken from the test split"
            )


def find_split_files(data: Path, entry: BenchmarkEntry, *, is_own: bool = False) -> SplitFiles:
    """Return the benchmark's files inside ``data``.

    Of the entry's folders the first one that has a training or validation file is read, else the
    first that exists.

    Args:
        data: Holds a folder of the benchmark.
        entry: Names its folders and files.
        is_own: ``data`` is the benchmark's alone and may be its folder itself.

    Raises:
        BadDataError: There is no such folder, or it has none of the files.
    """
    folders = [data / name for name in entry.folders if (data / name).is_dir()]
    if is_own:
        folders.append(data)
    if not folders:
        raise BadDataError(_no_folder_problem(data, entry.folders))
    found = [
        SplitFiles(
            **{split: _split_file(folder, split, entry) for split in SPLIT_NAMES}, folder=folder
        )
        for folder in folders
    ]
    with_training = [files for files in found if files.train or files.validation]
    files = (with_training or found)[0]
    if not (with_training or files.test or entry.has_training_split):
        wanted = ", ".join(entry.files.values()) or "test.json"
        raise BadDataError(f"{files.folder} must hold {wanted}, got none of them")
    return files


def missing_folder_problem(data: Path, revision_field: str) -> str:
    """Return the reason why ``data`` cannot be read, and how to name a Hub id."""
    if data.exists():
        return f"must be a folder, got the file {data}"
    parent = data.absolute().parent
    while not parent.is_dir():
        parent = parent.parent
    return (
        f"{data} does not exist{_nearest(data.name, parent)}; "
        f"a Hub id (owner/name) also needs {revision_field}, its commit"
    )


def _what_is_in(folder: Path | None) -> str:
    names = sorted(one.name for one in folder.iterdir()) if folder is not None else []
    shown = [name for name in names if not name.startswith(".")]
    return ", ".join(shown[:3]) + ", ..." * (len(shown) > 3) if shown else "none of them"


def _no_folder_problem(data: Path, folder_names: Sequence[str]) -> str:
    inside = [
        child
        for child in _subfolders(data)
        if any((child / name).is_dir() for name in folder_names)
    ]
    if inside:
        return f"{data} has no folder {folder_names[0]}, but {inside[0]} has: use that"
    return f"{data} has no folder {' or '.join(folder_names)}{_nearest(folder_names[0], data)}"


def _nearest(name: str, parent: Path) -> str:
    names = [child.name for child in _subfolders(parent)]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
    return f"; the nearest in {parent}: {', '.join(close)}" if close else ""


def _subfolders(parent: Path) -> list[Path]:
    return sorted(
        child for child in parent.iterdir() if child.is_dir() and not child.name.startswith(".")
    )


def _split_file(folder: Path, split: SplitName, entry: BenchmarkEntry) -> Path | None:
    """The file of a split, the first of its shards, or its folder."""
    stem = entry.splits.get(split, split)
    names = [f"{stem}{suffix}" for suffix in SUFFIXES]
    if split in entry.files:
        names.append(entry.files[split])
    files = [folder / name for name in names if (folder / name).is_file()]
    for place in (folder, folder / PARQUET_FOLDER):
        for suffix in SHARD_SUFFIXES:
            files += sorted(place.glob(f"{stem}-00000-of-?????{suffix}"))
    files += [folder / stem] if (folder / stem).is_dir() else []
    return next(iter(files), None)
