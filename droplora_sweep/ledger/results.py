"""Per-example results of a trial, one parquet file each, a row per response.

pyarrow is imported where it is used, so that reading the ledger alone stays quick.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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
    "score",
    "rating",
    "sample",
    "turn",
    "prompt_digest",
    "note",
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
    """The rows of a trial's results, each a dict of ``COLUMNS``; older files' have defaults."""
    return _table(path, COLUMNS).to_pylist()


def read_scores(path: Path) -> dict[str, dict[str, float | None]]:
    """Each example's score in [0, 1], or None where it is missing, by benchmark and example id."""
    from droplora_sweep.evaluation import example_scores

    columns = _table(path, ("benchmark", "example_id", "score")).to_pydict()
    return example_scores(zip(*columns.values(), strict=True))


@dataclass(frozen=True)
class AnswerCounts:
    """How often each answer of one benchmark was given, and how often it was right to give it.

    Attributes:
        given: Responses by what was read from them; None is that nothing could be read.
        right: The same responses by their right answer.
    """

    given: Counter[str | None] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)


def read_answers(path: Path) -> dict[str, AnswerCounts]:
    """The answers by benchmark; ratings of a judge are none."""
    found: dict[str, AnswerCounts] = defaultdict(AnswerCounts)
    columns = _table(path, ("benchmark", "prediction", "gold", "correct")).to_pydict()
    for benchmark, prediction, gold, correct in zip(*columns.values(), strict=True):
        if correct is not None:
            found[benchmark].given[prediction] += 1
            found[benchmark].right[gold] += 1
    return dict(found)


def _table(path: Path, columns: Sequence[str]) -> pa.Table:
    """These columns, in this order; what an older file lacks is filled in.

    Raises:
        SweepError: The file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        kind = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise SweepError(f"{path}: results must be readable, but the file {kind}") from error
    types = dict(zip(COLUMNS, _types(), strict=True))
    for name in columns:
        if name not in table.column_names:
            values = _defaults(name, table)
            table = table.append_column(name, pa.array(values, types[name]))
    return table.select(list(columns))


def _defaults(name: str, table: pa.Table) -> list[Any]:
    if name == "score":
        return [float(correct) for correct in table["correct"].to_pylist()]
    return [{"sample": 0, "turn": 1}.get(name)] * table.num_rows


def _types() -> tuple[pa.DataType, ...]:
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int32()
    first = (text, text, text, text, text, pa.bool_(), whole, real, text)
    return (*first, real, real, whole, whole, text, text)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(list(zip(COLUMNS, _types(), strict=True)))
