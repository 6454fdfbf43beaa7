"""Methods side by side: the best setting of each, with the paper's numbers where they are alike."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from droplora_sweep.display.methods import methods_notes, methods_table
from droplora_sweep.selection import compare_methods, compared_fields, paper_result
from droplora_sweep.spec import load_sweep_file

PAPER = Path(__file__).parents[2] / "search_spaces" / "paper"
FIELDS = ("adapter.method", "adapter.pruning_rate")


@dataclass(frozen=True)
class Trial:
    trial_id: str
    number: int
    spec: dict[str, Any]
    metrics: dict[str, float]
    state: str = "COMPLETE"
    params: dict[str, Any] = field(default_factory=dict)


def trial(
    number: int, method: str, rate: float, right: dict[str, int], **changes: Any
) -> tuple[Trial, dict[str, dict[str, float]]]:
    """A trial that answered the first ``right`` of ten examples of each benchmark."""
    spec = {
        "model": {"path": "builtin"},
        "task": {"benchmarks": list(right), "train": None, "num_train": None},
        "adapter": {"method": method, "pruning_rate": rate, "rank": 8},
    }
    name = f"t{number:04d}-0123abcd"
    metrics = {f"val/{one}": count / 10 for one, count in right.items()}
    results = {
        one: {f"e{index}": float(index < count) for index in range(10)}
        for one, count in right.items()
    }
    params = {
        "adapter.method": method,
        "adapter.pruning_rate": rate,
        "training.learning_rate": 0.01 * number,
    }
    return Trial(name, number, spec, metrics, params=params, **changes), results


SWEEP = [
    trial(1, "dora", 0.0, {"a": 9, "b": 5}),
    trial(2, "lora", 0.0, {"a": 6, "b": 4}),
    trial(3, "lora", 0.0, {"a": 7, "b": 5}),
    trial(4, "lora", 0.2, {"a": 10, "b": 10}, state="FAILED"),
    trial(5, "lora", 0.2, {"a": 8, "b": 6}),
    trial(6, "dora", 0.0, {"a": 9, "b": 5}),
]


def compare(trials: Any = SWEEP, fields: Any = FIELDS) -> Any:
    results = {one.trial_id: scores for one, scores in trials}
    return compare_methods([one for one, _ in trials], fields, results.get)


def test_the_best_complete_trial_stands_for_its_variant() -> None:
    found = compare()

    assert found.benchmarks == ("a", "b", "mean")
    rows = {tuple(row.variant.values()): row for row in found.rows}
    assert {key: row.best[:5] for key, row in rows.items()} == {
        ("dora", 0.0): "t0001",
        ("lora", 0.0): "t0003",
        ("lora", 0.2): "t0005",
    }
    assert {key: (row.num_trials, row.num_complete) for key, row in rows.items()} == {
        ("dora", 0.0): (2, 2),
        ("lora", 0.0): (2, 2),
        ("lora", 0.2): (2, 1),
    }
    assert rows["dora", 0.0].settings == {"training.learning_rate": 0.01}
    assert rows["dora", 0.0].scores == {"a": 0.9, "b": 0.5, "mean": pytest.approx(0.7)}
    interval = rows["dora", 0.0].intervals["mean"]
    assert interval.low < 0.7 < interval.high


def test_differences_are_to_lora_without_pruning_and_paired() -> None:
    found = compare()

    assert found.rows[found.reference].variant == dict(zip(FIELDS, ("lora", 0.0), strict=True))
    assert found.rows[found.reference].difference is None
    dora = found.rows[0].difference
    assert dora.value == pytest.approx(0.1)
    assert dora.low < 0.1 < dora.high


def test_without_results_there_are_scores_and_no_intervals() -> None:
    found = compare_methods([one for one, _ in SWEEP], FIELDS, lambda _: None)

    assert found is not None
    assert found.rows[0].scores["mean"] == pytest.approx(0.7)
    assert (found.rows[0].intervals, found.rows[0].difference) == ({}, None)


def test_one_variant_is_no_comparison() -> None:
    assert compare(SWEEP[1:3]) is None
    assert compare(fields=()) is None


def test_what_is_compared_is_what_the_search_says_else_its_methods() -> None:
    def fields(**search: Any) -> tuple[str, ...]:
        return compared_fields({"search": {"parameters": {}, **search}})

    assert fields(compare=["adapter.rank"]) == ("adapter.rank",)
    assert fields(parameters={"adapter.method": {}}) == ("adapter.method",)
    assert fields(parameters={"adapter.rank": {}}) == ()


def shown(found: Any) -> str:
    console = Console(file=io.StringIO(), width=240)
    console.print(methods_table(found))
    for line in methods_notes(found):
        console.print(line, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_scores_intervals_trials_and_settings() -> None:
    text = shown(compare())
    [dora] = [line for line in text.splitlines() if "method=dora" in line]

    assert "90.0 [59.6, 98.2]" in dora
    assert "t0001 lr=0.01" in dora
    assert "+10.0 [" in dora
    assert "paper" not in text
    assert "Not every method" not in text


def test_unequal_numbers_of_trials_are_told() -> None:
    assert "Not every method has had as many trials" in shown(compare(SWEEP[:3]))


@pytest.mark.parametrize(
    ("file", "adapter", "source", "scores"),
    [
        ("table1_llama2_7b", {"method": "lora"}, "Table 1", {"boolq": 74.37, "mean": 84.38}),
        (
            "table1_llama3_8b",
            {"method": "droplora", "pruning_rate": 0.3},
            "Table 1",
            {"boolq": 76.45, "mean": 87.61},
        ),
        ("table2_llama2_7b", {"method": "dora"}, "Table 2", {"gsm8k": 66.19}),
        ("table2_llama2_7b", {"method": "full"}, "Table 2", {"gsm8k": 66.5, "math": 19.8}),
        ("table3_llama3_8b", {"method": "pissa"}, "Table 3", {"mbpp": 65.87}),
        ("table4_llama3_8b", {"method": "milora"}, "Table 4", {"mt_bench": 6.11}),
    ],
)
def test_a_setting_of_the_paper_is_known_again(
    file: str, adapter: dict[str, Any], source: str, scores: dict[str, float]
) -> None:
    sweep = load_sweep_file(PAPER / f"{file}.yaml", needs_data=False).sweep
    spec = sweep.trial.model_dump(mode="json")
    spec["adapter"] |= adapter

    found = paper_result(spec)

    assert found is not None
    assert found.source == source
    assert {name: found.scores[name] for name in scores} == scores


@pytest.mark.parametrize(
    "change",
    [
        {"adapter": {"rank": 16}},
        {"adapter": {"method": "dora", "pruning_rate": 0.2}},
        {"adapter": {"method": "rslora"}},
        {"model": {"path": "builtin"}},
        {"task": {"benchmarks": ["boolq"]}},
        {"task": {"num_train": 1000}},
        {"task": {"train": {"name": "mine"}}},
    ],
)
def test_another_setting_has_no_number_in_the_paper(change: dict[str, dict[str, Any]]) -> None:
    sweep = load_sweep_file(PAPER / "table1_llama2_7b.yaml", needs_data=False).sweep
    spec = sweep.trial.model_dump(mode="json")
    for section, values in change.items():
        spec[section] |= values

    assert paper_result(spec) is None


def test_the_papers_numbers_stand_below_ours() -> None:
    sweep = load_sweep_file(PAPER / "table4_llama2_7b.yaml", needs_data=False).sweep
    trials = []
    for number, method in enumerate(("lora", "dora")):
        one, results = trial(number, method, 0.0, {"mt_bench": 5})
        spec = sweep.trial.model_dump(mode="json")
        spec["adapter"]["method"] = method
        trials.append((Trial(one.trial_id, number, spec, one.metrics, params=one.params), results))

    lines = shown(compare(trials, ("adapter.method",))).splitlines()
    ours = next(index for index, line in enumerate(lines) if "method=dora" in line)
    assert "paper, Table 4" in lines[ours + 1]
    assert "53.30" in lines[ours + 1], "ours is a tenth of the rating, in percent"
    assert any("The paper's numbers are of the test split" in line for line in lines)
