"""Parquet and Arrow files, and folders of ``datasets``' ``save_to_disk``, as records.

Arrow's IPC formats are both read: the file (``.arrow``, Feather 2) and the stream, in which
``datasets`` keeps its own files. Shards of one table, ``train-00000-of-00002.parquet`` and so on,
are named by the first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from .json_records import BadDataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from .json_records import Placed

PARQUET_SUFFIX: Final = ".parquet"
ARROW_SUFFIXES: Final = (".arrow", ".feather")
TABLE_SUFFIXES: Final = (PARQUET_SUFFIX, *ARROW_SUFFIXES)
PARQUET_MAGIC: Final = b"PAR1"
IPC_FILE_MAGIC: Final = b"ARROW1"
IPC_STREAM_MAGIC: Final = b"\xff\xff\xff\xff"

SAVED_STATE: Final = "state.json"
"""In a folder of ``save_to_disk``, the file that names its Arrow files."""
SAVED_SPLITS: Final = "dataset_dict.json"
"""In a folder of several splits of ``save_to_disk``, the file that names them."""

_SHARD: Final = re.compile(r"(?P<start>.+)-00000-of-(?P<count>\d{5})(?P<suffix>\.parquet|\.arrow)")


def read_table(path: Path) -> list[Placed]:
    """Return every row, of all files where ``path`` is the first of several shards.

    Raises:
        BadDataError: A file is missing, or is neither parquet nor Arrow, or has a column that has
            no values in Python.
    """
    return [row for shard in _shards(path) for row in _rows(shard)]


def is_saved_data_set(path: Path) -> bool:
    """Return True for a folder that ``datasets`` saved one data set in."""
    return (path / SAVED_STATE).is_file() and (path / "dataset_info.json").is_file()


def read_saved_data_set(folder: Path) -> list[Placed]:
    """Return every row of a folder of ``save_to_disk``, in the order of its Arrow files.

    Raises:
        BadDataError: A file is missing or cannot be read.
    """
    state = folder / SAVED_STATE
    try:
        names = [str(one["filename"]) for one in json.loads(state.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadDataError(f"{state}: must name the Arrow files in `_data_files`") from error
    if any("/" in name or name in ("", "..") for name in names):
        raise BadDataError(f"{state}: must name files beside it in `_data_files`, got {names[0]!r}")
    return [row for name in names for row in _rows(folder / name)]


def _shards(path: Path) -> list[Path]:
    """Return all shards of the split whose first one this is."""
    match = _SHARD.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    return [
        path.with_name(f"{match['start']}-{index:05}-of-{count:05}{match['suffix']}")
        for index in range(count)
    ]


def _rows(path: Path) -> Iterator[Placed]:
    table = _table(path)
    names = table.column_names
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadDataError(f"{path}: must name each column once, got {name!r} twice")
    columns = [_values(path, table, name) for name in names]
    for index, values in enumerate(zip(*columns, strict=True), 1):
        yield f"{path}: row {index}", dict(zip(names, values, strict=True))


def _table(path: Path) -> pa.Table:
    # Importing pyarrow takes a moment, which JSON files should not cost.
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = "a parquet file" if path.suffix == PARQUET_SUFFIX else "an Arrow file or stream"
    try:
        with path.open("rb") as stream:
            start = stream.read(len(IPC_FILE_MAGIC))
        if start[:4] == PARQUET_MAGIC or path.suffix == PARQUET_SUFFIX:
            with pq.ParquetFile(path) as file:
                return file.read()
        with pa.memory_map(str(path)) as source:
            is_file = start == IPC_FILE_MAGIC
            reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            with reader:
                return reader.read_all()
    except FileNotFoundError as error:
        raise BadDataError(f"{path}: cannot be read: it is not there") from error
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise BadDataError(f"{path}: must be {kind}: {_first_line(error)}") from error


def _values(path: Path, table: pa.Table, name: str) -> list[Any]:
    """Return the values of a column; of a class label its name, as the file's own table has it."""
    import pyarrow as pa

    column = table.column(name)
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise BadDataError(f"{path}: {name}: must be UTF-8 text, got {error.reason}") from error
    # Dates that Python has none of are the last two.
    except (pa.ArrowException, MemoryError, ValueError, OverflowError) as error:
        problem = f"{name}: must be a column that can be read, got {column.type}"
        raise BadDataError(f"{path}: {problem}: {_first_line(error)}") from error
    classes = _class_names(table.schema).get(name)
    if classes is None:
        return values
    known = dict(enumerate(classes))
    # -1 is no class.
    return [None if value is None else known.get(value) for value in values]


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of each column's classes, where ``datasets`` wrote the file."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        features = content["info"]["features"]
        return {
            name: list(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
