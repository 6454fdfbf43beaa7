"""Files of a sweep and of its trials, written before the event that tells of them.

pyarrow is imported where it is used, so that reading the ledger alone stays quick.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml

from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation.results import example_scores
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file, write_file
from droplora_sweep.publishing import MANIFEST, publish_folder, verify_folder
from droplora_sweep.records.layout import (
    ADAPTER,
    FAILURE_LOG,
    MODEL_CARD,
    RESULTS,
    SPEC,
    SUMMARY,
    TRIAL,
)
from droplora_sweep.redaction import redact
from droplora_sweep.storage.file_set import published

from .log import failpoint
from .model_card import model_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.publishing import Content
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.storage.file_set import FileSet


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
    "reference_log_probability",
    "reference_bytes",
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
    columns = _columns(path, COLUMNS)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read_scores(path: Path) -> dict[str, dict[str, float | None]]:
    """Each example's score in [0, 1], or None where it is missing, by benchmark and example id."""
    columns = _columns(path, ("benchmark", "example_id", "score"))
    return example_scores(zip(*columns.values(), strict=True))


def read_references(path: Path) -> dict[str, dict[str, tuple[float, int]]]:
    """The likelihood of each example's reference, by benchmark and example id.

    That is its log-probability in nats and its bytes (see ``ExampleResult``). Examples without are
    left out, and so are benchmarks; a file without any gives {}.
    """
    names = ("benchmark", "example_id", "reference_log_probability", "reference_bytes")
    found: dict[str, dict[str, tuple[float, int]]] = defaultdict(dict)
    for benchmark, example_id, log_probability, num_bytes in zip(
        *_columns(path, names).values(), strict=True
    ):
        if log_probability is not None and num_bytes is not None:
            found[benchmark][example_id] = log_probability, num_bytes
    return dict(sorted(found.items()))


def read_likelihoods(path: Path) -> dict[str, dict[str, float]]:
    """Parts of the benchmarks' likelihoods, one for each example's reference, by benchmark and id.

    In bits, over the mean number of bytes of the benchmark's references: their mean is the negative
    of ``bits_per_byte``, and more is better. Benchmarks without references are left out.
    """
    found = {}
    for benchmark, examples in read_references(path).items():
        bytes_each = fmean(num_bytes for _, num_bytes in examples.values())
        found[benchmark] = {
            example_id: log_probability / math.log(2) / bytes_each
            for example_id, (log_probability, _) in examples.items()
        }
    return found


@dataclass(frozen=True)
class AnswerCounts:
    """Number of times that each answer of one benchmark was given, and was the right one.

    Attributes:
        given: Responses by what was read from them; None is that nothing could be read.
        right: The same responses by their right answer.
    """

    given: Counter[str | None] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)


def read_answers(path: Path) -> dict[str, AnswerCounts]:
    """The answers by benchmark; ratings of a judge are none."""
    found: dict[str, AnswerCounts] = defaultdict(AnswerCounts)
    columns = _columns(path, ("benchmark", "prediction", "gold", "correct"))
    for benchmark, prediction, gold, correct in zip(*columns.values(), strict=True):
        if correct is not None:
            found[benchmark].given[prediction] += 1
            found[benchmark].right[gold] += 1
    return dict(found)


def _columns(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Values of these columns, in this order; what an older file lacks is filled in.

    Raises:
        SweepError: The file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # `pq.read_table` would import pandas, which takes a second; so would `pa.array`.
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        kind = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise SweepError(f"{path}: results must be readable, but the file {kind}") from error
    return {
        name: table[name].to_pylist() if name in table.column_names else _defaults(name, table)
        for name in names
    }


def _defaults(name: str, table: pa.Table) -> list[Any]:
    if name == "score":
        return [float(correct) for correct in table["correct"].to_pylist()]
    return [{"sample": 0, "turn": 1}.get(name)] * table.num_rows


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int32()
    first = (text, text, text, text, text, pa.bool_(), whole, real, text)
    types = (*first, real, real, whole, whole, text, text, real, whole)
    return pa.schema(list(zip(COLUMNS, types, strict=True)))


def publish_adapter(directory: Path, files: Mapping[str, Content]) -> str:
    """Write an adapter so that the folder holds all of it or is absent.

    Args:
        directory: The adapter's folder.
        files: Content by name; a name may have folders in it.

    Returns:
        sha256 of the manifest, which pins every file.

    Raises:
        SweepError: A received file is not what was sent.
    """
    assert files, "an adapter has files"
    return publish_folder(directory, files)


def file_paths(directory: Path) -> dict[str, Path]:
    """An adapter's files by name, without its card and its manifest."""
    return {
        path.relative_to(directory).as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, MODEL_CARD)
    }


def plain_files(directory: Path) -> dict[str, bytes]:
    """Content of the files of `file_paths`; of an adapter, which fits into memory."""
    return {name: path.read_bytes() for name, path in file_paths(directory).items()}


def verify_adapter(directory: Path, digest: str | None = None) -> None:
    """Check an adapter against its manifest, and the manifest against the ledger's digest.

    Args:
        directory: The adapter's folder.
        digest: ``TrialRecord.adapter_digest``; None checks the files alone.

    Raises:
        SweepError: Naming every file that is missing, changed or unexpected.
    """
    verify_folder(directory, digest)


def verified_files(trial: TrialRecord) -> FileSet:
    """Return the files of a trial's adapter but for its card, checked against the ledger's digest.

    Raises:
        SweepError: Naming every file that is missing, changed or unexpected.
    """
    assert trial.adapter is not None, f"{trial.trial_id} has an adapter"
    verify_adapter(trial.adapter, trial.adapter_digest)
    return published(trial.adapter, without=(MODEL_CARD,))


def write_spec(directory: Path, spec: Mapping[str, object]) -> None:
    """Keep the spec of a sweep's last start where people look for it.

    Raises:
        SweepError: If the file system refuses.
    """
    _write(directory / SPEC, yaml.safe_dump(spec, sort_keys=False).encode())


def write_summary(directory: Path, texts: Mapping[str, str]) -> None:
    """Write texts for readers, by file name.

    Raises:
        SweepError: If the file system refuses.
    """
    for name, text in texts.items():
        _write(directory / SUMMARY / name, redact(text).encode())


def describe_trial(folder: Path, description: Mapping[str, object]) -> None:
    """Make a trial's folder and say in it what the trial is.

    Raises:
        SweepError: If the file system refuses.
    """
    _write(folder / TRIAL, json.dumps(description, indent=1).encode() + b"\n")
    failpoint("trial-folder-made")


def write_failure_log(folder: Path, log: str) -> None:
    """Keep what a failed trial's processes last wrote, without secrets.

    Raises:
        SweepError: If the file system refuses.
    """
    _write(folder / FAILURE_LOG, redact(log).encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    with disk_faults_named(path.parent):
        make_private_directory(path.parent)
        replace_file(path, content)


def publish_trial_files(
    folder: Path,
    trial: TrialRecord,
    sweep_name: str,
    metrics: Mapping[str, float],
    adapter_files: Mapping[str, Content] | None,
    results: Iterable[ExampleResult] | None,
) -> dict[str, str | None]:
    """Publish what a trial left; the digests of its adapter and of its results, by these names.

    Args:
        folder: The trial's.
        trial: The trial, still running.
        sweep_name: Its sweep's, for the model card.
        metrics: Metrics that the trial ends with.
        adapter_files: Files of ``save_pretrained``, by name; the model card is added.
        results: Per-example results of the last evaluation.

    Raises:
        SweepError: If the file system refuses.
    """
    digests: dict[str, str | None] = {"adapter": None, "results": None}
    with disk_faults_named(folder):
        if adapter_files:
            card = model_card(trial, sweep_name, metrics)
            files: dict[str, Content] = dict(adapter_files)
            files[MODEL_CARD] = _last_written(card.encode())
            digests["adapter"] = publish_adapter(folder / ADAPTER, files)
            failpoint("adapter-published")
        if results is not None:
            digests["results"] = _write_results(folder / RESULTS, results)
            failpoint("results-written")
    return digests


def publish_results(path: Path, results: Iterable[ExampleResult]) -> tuple[dict[str, float], str]:
    """Publish results beside those of trials; their score by benchmark, and the file's digest.

    Raises:
        SweepError: If the file system refuses.
    """
    with disk_faults_named(path.parent):
        make_private_directory(path.parent)
        digest = _write_results(path, results)
    return _scores(path), digest


def _scores(path: Path) -> dict[str, float]:
    known = {
        name: [score for score in examples.values() if score is not None]
        for name, examples in read_scores(path).items()
    }
    return {name: fmean(some) if some else math.nan for name, some in known.items()}


def _write_results(path: Path, results: Iterable[ExampleResult]) -> str:
    write_results(path, results)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last_written(content: bytes) -> Callable[[Path], None]:
    """Writes an adapter's last file, when all others are there."""

    def write(path: Path) -> None:
        failpoint("adapter-half-written")
        write_file(path, content)

    return write
