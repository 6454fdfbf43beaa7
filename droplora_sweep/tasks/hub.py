"""Data sets of the Hub: their own files, or a configuration's splits as ``datasets`` reads them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.fetching.cache import cache_root
from droplora_sweep.files import disk_faults_named, make_private_directory

from .folders import PARQUET_FOLDER, SPLIT_NAMES, SUFFIXES
from .json_records import BadDataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec.task import SplitName

    from .registry import BenchmarkEntry

_CONFIGURATIONS: Final = re.compile(r"(?:available configs|Available)\S*:?\s*\[(?P<names>[^\]]*)\]")


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
        raise BadDataError(_out_of_reach_problem(repository, revision)) from error
    except HfHubHTTPError as error:
        raise BadDataError(_refused_problem(repository, revision, error)) from error


def prepare_splits(
    repository: str, revision: str, configuration: str | None, names: Mapping[SplitName, str]
) -> Path:
    """Return a folder with the splits of a data set's configuration, as ``datasets`` reads them.

    What was prepared before is not asked for again: a commit does not change.

    Args:
        repository: The Hub id.
        revision: Its commit.
        configuration: Its configuration; None is its only or its default one.
        names: Name of a split in the data set by ours, be it ``train[:1000]``; a split that is not
            listed has its own name, and may be missing.

    Raises:
        BadDataError: The Hub cannot be reached, or has no such data set, configuration or split.
    """
    wanted = json.dumps([repository, revision, configuration, dict(sorted(names.items()))])
    place = cache_root() / "hub" / hashlib.sha256(wanted.encode()).hexdigest()
    if place.is_dir():
        return place
    temporary = place.with_name(f".{place.name[:16]}-{uuid.uuid4().hex[:8]}")
    with disk_faults_named(place):
        make_private_directory(temporary)
        try:
            for name, table in _load(repository, revision, configuration, names).items():
                table.save_to_disk(str(temporary / name))
            if not place.is_dir():
                temporary.rename(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return place


def _load(
    repository: str, revision: str, configuration: str | None, names: Mapping[SplitName, str]
) -> dict[str, Any]:
    """Return the splits that are wanted, by the name that they have in the data set."""
    # It takes seconds to import, which other data should not cost.
    import datasets
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    datasets.disable_progress_bars()
    title = f"{repository} at {revision[:12]}"
    try:
        builder = datasets.load_dataset_builder(repository, configuration, revision=revision)
        known = list(map(str, builder.config.data_files or ()))
        wanted = [names.get(split, split) for split in SPLIT_NAMES]
        missing = [one for one in names.values() if one.partition("[")[0] not in known]
        chosen = [one for one in wanted if one.partition("[")[0] in known]
        if missing or not chosen:
            rule = f"must have the split {(missing or wanted)[0]}"
            raise BadDataError(f"{title}: {rule}, got {', '.join(known)}; `splits` names them")
        builder.download_and_prepare()
        return {name: builder.as_dataset(split=name) for name in dict.fromkeys(chosen)}
    except DatasetNotFoundError as error:
        problem = f"the Hub has no data set {repository} at {revision}, or asks for a login"
        raise BadDataError(problem) from error
    except HfHubHTTPError as error:
        raise BadDataError(_refused_problem(repository, revision, error)) from error
    except (OfflineModeIsEnabled, ConnectionError) as error:
        raise BadDataError(_out_of_reach_problem(repository, revision)) from error
    except BadDataError:
        raise
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise BadDataError(f"{title}: {_unread_problem(configuration, error)}") from error


def _unread_problem(configuration: str | None, error: Exception) -> str:
    """Return the reason why a configuration is not read."""
    text = " ".join(str(error).split())
    known = _CONFIGURATIONS.search(text)
    if known is None:
        return f"cannot be read by `datasets`: {text[:200]}"
    names = known["names"].replace("'", "")
    got = "null" if configuration is None else configuration
    return f"must have its `configuration` from {names}, got {got}"


def _out_of_reach_problem(repository: str, revision: str) -> str:
    return (
        f"the Hub cannot be reached for {repository} at {revision}, and no earlier download is on "
        "this machine; give a local folder instead"
    )


def _refused_problem(repository: str, revision: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return f"the Hub refused {repository} at {revision}: {reason}"
