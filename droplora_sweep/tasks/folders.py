"""Finds a benchmark's files: in a local folder, or in a data set repository of the Hub."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES: Final = (".json", ".jsonl")
SPLIT_NAMES: Final = ("train", "validation", "test")


class MissingDataError(Exception):
    """``task.data`` does not lead to a benchmark's files; the text says why, on one line."""


@dataclass(frozen=True)
class SplitFiles:
    """Where a benchmark's splits are; None for a split without a file."""

    train: Path | None
    validation: Path | None
    test: Path | None


def find_split_files(data: Path, folder_names: Sequence[str]) -> SplitFiles:
    """The files of the first of ``folder_names`` that exists inside ``data``.

    Raises:
        MissingDataError: There is no such folder, or it has no file that a search could choose on.
    """
    folder = next((data / name for name in folder_names if (data / name).is_dir()), None)
    if folder is None:
        raise MissingDataError(_no_folder_problem(data, folder_names))
    found = {split: _split_file(folder, split) for split in SPLIT_NAMES}
    files = SplitFiles(**found)
    if files.train is None and files.validation is None:
        names = sorted(path.name for path in found.values() if path) or ["none of them"]
        raise MissingDataError(
            f"{folder} must hold train.json or validation.json (or .jsonl), got {names[0]}: "
            "a task needs a validation split, which is never taken from the test split"
        )
    return files


def download(repository: str, revision: str, folder_names: Sequence[str]) -> Path:
    """A local copy of these folders' split files; files downloaded before are not asked for again.

    Raises:
        MissingDataError: The Hub cannot be reached, or has no such data set or revision.
    """
    # Importing the Hub client takes half a second, which local data should not cost.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    patterns = [
        f"{folder}/{split}{suffix}"
        for folder in folder_names
        for split in SPLIT_NAMES
        for suffix in SUFFIXES
    ]
    try:
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=patterns
            )
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise MissingDataError(
            f"the Hub cannot be reached for {repository} at {revision}, and no earlier download "
            "is on this machine; give a local folder instead"
        ) from error
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingDataError(f"the Hub refused {repository} at {revision}: {reason}") from error


def missing_folder_problem(data: Path) -> str:
    """Why ``data`` cannot be read: what is there instead, and how to name a Hub id."""
    if data.exists():
        return f"must be a folder, got the file {data}"
    parent = data.absolute().parent
    while not parent.is_dir():
        parent = parent.parent
    return (
        f"{data} does not exist{_nearest(data.name, parent)}; "
        "a Hub id (owner/name) also needs task.revision, its commit"
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


def _split_file(folder: Path, split: str) -> Path | None:
    candidates = (folder / f"{split}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)
