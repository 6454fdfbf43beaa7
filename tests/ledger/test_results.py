"""Per-example results as files: what is written, and what older files still tell."""

from dataclasses import replace
from statistics import fmean

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation.results import ExampleResult, result_metrics
from droplora_sweep.ledger.files import (
    read_likelihoods,
    read_references,
    read_results,
    read_scores,
    write_results,
)

RIGHT = ExampleResult("choice", "e0", "A: a", "a", "a", True, 3)
RATED = ExampleResult("chat", "q1", "Hello.", None, "", None, 2, rating=7.0)


def test_an_example_s_score_is_the_mean_of_its_responses(tmp_path):
    path = tmp_path / "results.parquet"
    samples = [replace(RIGHT, benchmark="code", sample=n, correct=n == 0) for n in range(4)]
    unrated = replace(RATED, turn=2, rating=None, note="no reply in 5 attempts")
    lost = replace(unrated, example_id="q2")
    write_results(path, [RIGHT, *samples, RATED, unrated, lost])
    assert read_scores(path) == {
        "chat": {"q1": 0.7, "q2": None},
        "choice": {"e0": 1.0},
        "code": {"e0": 0.25},
    }
    rows = read_results(path)
    assert [row["sample"] for row in rows] == [0, 0, 1, 2, 3, 0, 0, 0]
    assert [(row["turn"], row["rating"], row["note"]) for row in rows[-3:]] == [
        (1, 7.0, None),
        (2, None, "no reply in 5 attempts"),
        (2, None, "no reply in 5 attempts"),
    ]


def test_files_of_before_there_were_samples_and_ratings_are_read(tmp_path):
    path = tmp_path / "results.parquet"
    older = {"benchmark": ["b", "b"], "example_id": ["e0", "e1"], "correct": [True, False]}
    texts = {name: ["x", "y"] for name in ("response", "prediction", "gold", "protocol")}
    numbers = {"num_tokens": [3, 4], "log_probability": [None, -0.5]}
    pq.write_table(pa.table({**older, **texts, **numbers}), path)
    assert read_scores(path) == {"b": {"e0": 1.0, "e1": 0.0}}
    first, second = read_results(path)
    assert (first["score"], first["sample"], first["turn"]) == (1.0, 0, 1)
    assert second["rating"] is second["prompt_digest"] is second["note"] is None
    assert read_references(path) == {}


def test_a_reference_s_likelihood_is_read_once_for_each_example(tmp_path):
    path = tmp_path / "results.parquet"
    known = replace(RIGHT, reference_log_probability=-2.5, reference_bytes=9)
    samples = [replace(known, benchmark="code", sample=sample) for sample in range(3)]
    write_results(path, [known, replace(RIGHT, example_id="e1"), *samples, RATED])
    assert read_references(path) == {"choice": {"e0": (-2.5, 9)}, "code": {"e0": (-2.5, 9)}}


def test_the_mean_over_examples_is_the_negative_of_the_metric(tmp_path):
    path = tmp_path / "results.parquet"
    sizes = {"e0": (-2.5, 9), "e1": (-40.0, 120), "e2": (-0.5, 1)}
    results = [
        replace(RIGHT, example_id=name, reference_log_probability=nats, reference_bytes=size)
        for name, (nats, size) in sizes.items()
    ]
    write_results(path, [*results, RATED])
    found = read_likelihoods(path)
    assert found.keys() == {"choice"}
    metrics = result_metrics(results)
    assert fmean(found["choice"].values()) == pytest.approx(-metrics["bits_per_byte/val/choice"])


def test_results_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "results.parquet"
    with pytest.raises(SweepError) as missing:
        read_scores(path)
    assert str(missing.value) == f"{path}: results must be readable, but the file is missing"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(SweepError) as damaged:
        read_results(path)
    assert str(damaged.value) == f"{path}: results must be readable, but the file is damaged"
