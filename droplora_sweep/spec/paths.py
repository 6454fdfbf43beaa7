"""Whether a model or data path means a local folder or a Hub id."""

from __future__ import annotations

import re
from pathlib import Path

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")


def local_folder(path: str) -> Path:
    """The folder a local path means; relative ones start at the working directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        # There is no such user: the folder is named so, or is missing.
        return Path(path)


def is_hub_id(path: str) -> bool:
    """Whether ``path`` is a Hub id: it reads like one, and no local folder has this name."""
    return _HUB_ID.fullmatch(path) is not None and not local_folder(path).is_dir()


def is_data_file_name(path: str) -> bool:
    """Whether ``path`` ends as a data file does, which no Hub id in use does."""
    return path.endswith((".json", ".jsonl", ".gz", ".parquet", ".csv", ".tsv"))
