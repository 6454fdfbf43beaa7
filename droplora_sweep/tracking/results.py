"""Per-example results of a trial, one parquet file each.

pyarrow is imported where it is used, so that reading the ledger alone stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from droplora_sweep.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

    from droplora_sweep.evaluation import ExampleResult

COLUMNS = (
    "benchmark",
    "example_id",
    "response",
    "prediction",
    "gold",
    "correct",
    "num_tokens",
    "log_probability",
    "protocol",
)


def write_results(path: Path, results: Iterable[ExampleResult]) -> None:
    """Write the results with the columns ``COLUMNS``, durably."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{column: getattr(result, column) for column in COLUMNS} for result in results]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), sink, compression="zstd")
    replace_file(path, sink.getvalue().to_pybytes())


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows of a trial's results, each a dict of ``COLUMNS``."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=list(COLUMNS)).to_pylist()


def read_correct(path: Path) -> dict[str, dict[str, bool]]:
    """Whether each example was answered correctly: by benchmark, then by example id."""
    import pyarrow.parquet as pq

    columns = pq.read_table(path, columns=["benchmark", "example_id", "correct"]).to_pydict()
    correct: dict[str, dict[str, bool]] = {}
    for benchmark, example_id, is_correct in zip(*columns.values(), strict=True):
        correct.setdefault(benchmark, {})[example_id] = is_correct
    return correct


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    types = (text, text, text, text, text, pa.bool_(), pa.int32(), pa.float64(), text)
    return pa.schema(list(zip(COLUMNS, types, strict=True)))
