"""Places of a benchmark's files: a local folder, or a data set repository of the Hub."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .json_records import BadDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .registry import BenchmarkEntry

SUFFIXES: Final = (
    *(".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet"),
    *(".csv", ".tsv", ".csv.gz", ".tsv.gz"),
)
SPLIT_NAMES: Final = ("train", "validation", "test")
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
            found = self.test.name if self.test else "none of them"
            raise BadDataError(
                f"{self.folder or self.test} must hold train.json or validation.json (or .jsonl, "
                f".csv, .parquet), got {found}: a task needs a validation split, which is never "
                "taken from the test split"
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


def download(
    repository: str, revision: str, entries: Sequence[BenchmarkEntry], *, is_own: bool = False
) -> Path:
    """Return a local copy of these benchmarks' files; earlier downloads are not asked for again.

    Raises:
        BadDataError: The Hub cannot be reached, or has no such data set or revision.
    """
    # Importing the Hub client takes half a second, which local data should not cost.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    names = {f"{split}{suffix}" for split in SPLIT_NAMES for suffix in SUFFIXES}
    shards = {f"{split}-*-of-*.parquet" for split in SPLIT_NAMES}
    names |= shards | {f"{PARQUET_FOLDER}/{name}" for name in shards}
    names |= {f"{split}/*.json" for split in SPLIT_NAMES}
    patterns = [
        f"{folder}/{name}"
        for entry in entries
        for folder in entry.folders
        for name in sorted({*names, *entry.files.values()})
    ]
    if is_own:
        patterns += sorted(names.union(*(entry.files.values() for entry in entries)))
    try:
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=patterns
            )
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        problem = (
            f"the Hub cannot be reached for {repository} at {revision}, and no earlier download "
            "is on this machine; give a local folder instead"
        )
        raise BadDataError(problem) from error
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        problem = f"the Hub refused {repository} at {revision}: {reason}"
        raise BadDataError(problem) from error


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


def _split_file(folder: Path, split: str, entry: BenchmarkEntry) -> Path | None:
    """The file of a split, the first of its parquet shards, or its folder of one file each."""
    names = [f"{split}{suffix}" for suffix in SUFFIXES]
    if split in entry.files:
        names.append(entry.files[split])
    files = [folder / name for name in names if (folder / name).is_file()]
    for place in (folder, folder / PARQUET_FOLDER):
        files += sorted(place.glob(f"{split}-00000-of-?????.parquet"))
    files += [folder / split] if (folder / split).is_dir() else []
    return next(iter(files), None)
