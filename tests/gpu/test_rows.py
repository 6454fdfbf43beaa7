"""Outcomes by value and bound, and the table and JSON that are made of them."""

from __future__ import annotations

import json

import pytest

from tests.gpu.rows import (
    Row,
    as_line,
    as_table,
    failed,
    from_line,
    judged,
    not_run,
    on_gpu_alone,
    report,
    skipped,
    summary,
)

ROWS = [
    judged("memory", "lora", 0.91, "of the plan", low=0.8, high=1.0, note="7.1 of 7.8 GB"),
    Row(check="device", case="copy", value=4300.0, unit="GB/s", outcome="measured"),
    skipped("ranks", "two ranks", "1 GPU here, and two needed"),
    failed("zero", "stage 3", "RuntimeError: no"),
    not_run("vllm", "all", "the time was up"),
]


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (0.8, 0.8, 1.0, "passed"),
        (1.0, 0.8, 1.0, "passed"),
        (0.79, 0.8, 1.0, "failed"),
        (1.01, 0.8, 1.0, "failed"),
        (0.19, 0.2, None, "failed"),
        (5.0, 0.2, None, "passed"),
        (1.0, None, 0.0, "failed"),
        (float("nan"), None, 1.0, "failed"),
        (float("inf"), 0.2, None, "failed"),
    ],
)
def test_a_value_passes_within_its_bounds(
    value: float, low: float | None, high: float | None, outcome: str
) -> None:
    assert judged("a", "b", value, low=low, high=high).outcome == outcome


def test_a_value_without_a_bound_is_not_judged() -> None:
    with pytest.raises(AssertionError, match="without a bound"):
        judged("a", "b", 1.0)


@pytest.mark.parametrize("value", [0.1, 0.9])
def test_a_gpus_bound_is_judged_on_a_gpu_alone(value: float) -> None:
    row = judged("step", "lora", value, low=0.2, note="9 ms")
    assert on_gpu_alone(row, "cuda", "a roofline is judged") is row
    on_cpu = on_gpu_alone(row, "cpu", "a roofline is judged")
    assert (on_cpu.outcome, on_cpu.value) == ("skipped", None)
    assert on_cpu.note == "a roofline is judged on a GPU alone; 9 ms"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.outcome)
def test_a_row_comes_back_from_its_line(row: Row) -> None:
    assert from_line(as_line(row)) == row


def test_the_table_has_a_line_for_each_row() -> None:
    header, *lines = as_table(ROWS)
    assert header.split() == ["check", "case", "value", "bound", "unit", "outcome", "note"]
    assert [line.split()[0] for line in lines] == ["memory", "device", "ranks", "zero", "vllm"]
    assert lines[0].split("  ")[-1] == "7.1 of 7.8 GB"
    assert "0.8 to 1" in lines[0]
    starts = {line.index(row.outcome) for line, row in zip(lines, ROWS, strict=True)}
    assert starts == {header.index("outcome")}


def test_the_last_line_counts_outcomes() -> None:
    said = summary(ROWS, 12.3)
    assert said == "1 failed, 1 measured, 1 not run, 1 passed, 1 skipped in 12 s"
    assert summary([], 0) == "no check in 0 s"


def test_the_report_is_json_and_has_the_bounds_as_shown() -> None:
    found = json.loads(json.dumps(report(ROWS, {"gpu": "H200"}, 12.3)))
    assert found["machine"] == {"gpu": "H200"}
    assert [row["bound"] for row in found["rows"]] == [row.bound for row in ROWS]
    assert found["rows"][0]["low"] == 0.8
