"""A file or a folder of an object store, through pyarrow's file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .errors import FetchError
from .web import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_FILES: Final = 10_000
_CHUNK_BYTES: Final = 8 << 20


def fetch_from_store(
    url: str,
    folder: Path,
    stamp: Mapping[str, str],
    suffixes: tuple[str, ...],
    *,
    max_bytes: int = MAX_BYTES,
) -> dict[str, str] | None:
    """Write a URL's file, or its folder's data files, into a folder.

    Args:
        url: E.g. ``s3://bucket/rows.parquet`` or ``s3://bucket/folder?region=eu-west-1``.
        folder: An empty folder.
        stamp: Signs of the content that is known; {} for none.
        suffixes: Endings of names of data files; others of a folder are left there.
        max_bytes: The most bytes that are taken.

    Returns:
        The signs of what is now in the folder; None where the store has what is known.

    Raises:
        FetchError: There is no such file or folder, it is too large, or the store refuses.
    """
    from pyarrow import ArrowException
    from pyarrow.fs import FileSelector, FileSystem, FileType

    try:
        files, path = FileSystem.from_uri(url)
        path = path.rstrip("/")
        info = files.get_file_info(path)
        if info.type == FileType.NotFound:
            raise FetchError(url, "cannot be read: there is no such file or folder")
        found = [info]
        if info.type == FileType.Directory:
            everything = files.get_file_info(FileSelector(path, recursive=True))
            found = [one for one in everything if one.is_file and one.path.endswith(suffixes)]
        _check_sizes(url, found, max_bytes)
        signs = {
            one.path[len(path) :]: f"{one.size} {one.mtime}"
            for one in sorted(found, key=lambda one: str(one.path))
        }
        if signs == dict(stamp):
            return None
        name = path.rpartition("/")[2] or "data"
        for one in found:
            inside = one.path[len(path) :].lstrip("/")
            if ".." in inside.split("/"):
                raise FetchError(url, f"must hold plain names, got {inside!r}")
            _copy(files, one.path, folder / name / inside if inside else folder / name)
    except (ArrowException, OSError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise FetchError(url, f"cannot be read: {reason}") from error
    except ValueError as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError(url, f"cannot be read: {error}") from error
    return signs


def _check_sizes(url: str, found: list[Any], max_bytes: int) -> None:
    if not found:
        raise FetchError(url, "must hold data files, got none")
    if len(found) > MAX_FILES:
        raise FetchError(url, f"must hold at most {MAX_FILES:,} data files, got {len(found):,}")
    if (num_bytes := sum(one.size for one in found)) > max_bytes:
        raise FetchError(url, f"must be at most {max_bytes:,} bytes, got {num_bytes:,}")


def _copy(files: Any, source: str, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.open_input_stream(source, compression=None) as stream, target.open("xb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)
