"""Methods side by side: the best setting of each, with the paper's numbers where they are alike."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from droplora_sweep.analysis.methods import compare_methods, compared_fields
from droplora_sweep.analysis.paper import compare_with_paper
from droplora_sweep.cli.printing import print_tables
from droplora_sweep.present.contents.results import methods_table
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
    print_tables(console, [methods_table(found)])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_scores_intervals_trials_and_settings() -> None:
    text = shown(compare())
    [dora] = [line for line in text.splitlines() if "method=dora" in line]

    assert "90.0 % [59.6, 98.2]" in dora
    assert "lr=0.01 t0001-0123abcd" in dora
    assert "+10.0 points [" in dora
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
        ("table3_llama3_8b", {"method": "pissa"}, "Table 3", {"mbpp_evalplus": 65.87}),
        ("table4_llama3_8b", {"method": "milora"}, "Table 4", {"mt_bench_first_turn": 6.11}),
    ],
)
def test_a_setting_of_the_paper_is_known_again(
    file: str, adapter: dict[str, Any], source: str, scores: dict[str, float]
) -> None:
    sweep = load_sweep_file(PAPER / f"{file}.yaml", needs_data=False).sweep
    spec = sweep.trial.model_dump(mode="json")
    spec["adapter"] |= adapter

    compared = compare_with_paper(spec)

    assert compared is not None
    assert compared.differences == ()
    found = compared.result
    assert found is not None
    assert found.source == source
    assert {name: found.scores[name] for name in scores} == scores


@pytest.mark.parametrize(
    ("file", "change", "difference"),
    [
        ("table1_llama2_7b", {"adapter": {"rank": 16}}, "rank 16, the paper's 32"),
        (
            "table1_llama2_7b",
            {"task": {"benchmarks": ["boolq"]}},
            "trained on the training sets of boolq, the paper's on those of all 8 benchmarks",
        ),
        (
            "table1_llama2_7b",
            {"task": {"num_train": 1000}},
            "`num_train: 1000`, the paper's is trained on all examples",
        ),
        (
            "table1_llama2_7b",
            {"task": {"num_test": 100}},
            "`num_test: 100`, the paper's is scored on all test examples",
        ),
        (
            "table1_llama2_7b",
            {"task": {"train": {"name": "mine"}}},
            "trained on mine, the paper's on the benchmarks' own training sets or commonsense_170k",
        ),
        (
            "table2_llama2_7b",
            {"task": {"train": None}},
            "trained on the own training sets, the paper's on metamathqa",
        ),
        ("table1_llama2_7b", {"training": {"epochs": 1}}, "1 epoch, the paper's 3 epochs"),
        ("table2_llama2_7b", {"training": {"epochs": 3}}, "3 epochs, the paper's 1 epoch"),
        (
            "table2_llama3_8b",
            {"evaluation": {"protocol": "strict"}},
            "answers read by `protocol: strict`, the paper's by its own rules",
        ),
        (
            "table1_llama2_7b",
            {"evaluation": {"choice": "score"}},
            "options compared by their probabilities, the paper's answers are decoded",
        ),
        (
            "table2_llama2_7b",
            {"evaluation": {"max_new_tokens": 256}},
            "responses end after 256 tokens, the paper's after 2,048",
        ),
        (
            "table3_llama2_7b",
            {"evaluation": {"sampling": {"num_samples": 10}}},
            "several programs drawn for each problem, the paper's is decoded greedily",
        ),
        (
            "table4_llama2_7b",
            {"evaluation": {"judge": {"model": "llama"}}},
            "rated by llama, the paper's by GPT-4",
        ),
        (
            "table2_llama2_7b",
            {"model": {"quantization": "4bit"}},
            "the base model in 4bit, the paper's in 16 bits",
        ),
        (
            "table2_llama2_7b",
            {"task": {"prompt": "{instruction}"}},
            "asked by a prompt of its own",
        ),
        (
            "table2_llama2_7b",
            {"task": {"benchmark_specs": {"gsm8k": {"prompt_suffix": "?", "data": "x"}}}},
            "gsm8k with its own `prompt_suffix`",
        ),
    ],
)
def test_where_anything_else_is_measured_it_is_said_and_no_number_shown(
    file: str, change: dict[str, dict[str, Any]], difference: str
) -> None:
    found = compare_with_paper(paper_spec(file, change))

    assert found is not None
    assert (found.result, found.differences) == (None, (difference,))


@pytest.mark.parametrize(
    "change",
    [
        {"adapter": {"method": "dora", "pruning_rate": 0.2}},
        {"adapter": {"method": "rslora"}},
        {"model": {"path": "builtin"}},
        {"task": {"benchmarks": ["capitals"]}},
    ],
)
def test_what_the_paper_has_not_tried_is_not_mentioned(change: dict[str, dict[str, Any]]) -> None:
    assert compare_with_paper(paper_spec("table1_llama2_7b", change)) is None


def test_another_set_or_protocol_of_the_same_name_has_no_number() -> None:
    """Ours are 500 problems, and two turns: what ledgers of earlier versions hold."""
    code = paper_spec("table3_llama2_7b", {"task": {"benchmarks": ["humaneval", "mbpp"]}})
    found = compare_with_paper(code)
    assert found is not None
    assert found.result is not None
    assert found.result.scores == {"humaneval": 18.9}
    [reason] = found.other_sets
    assert reason.startswith("the paper's MBPP is the 378 problems that EvalPlus keeps")

    found = compare_with_paper(
        paper_spec("table4_llama2_7b", {"task": {"benchmarks": ["mt_bench"]}})
    )
    assert found is not None
    assert found.result is None
    [reason] = found.other_sets
    assert reason.startswith("the paper's MT-Bench is 80 first turns, rated without references")


def paper_spec(file: str, change: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A trial of the paper's LoRA, with other values in some sections."""
    sweep = load_sweep_file(PAPER / f"{file}.yaml", needs_data=False).sweep
    spec = sweep.trial.model_dump(mode="json")
    spec["adapter"] |= {"method": "lora", "pruning_rate": 0.0}
    for section, values in change.items():
        spec[section] |= values
    return spec


def test_the_papers_numbers_stand_below_ours() -> None:
    sweep = load_sweep_file(PAPER / "table4_llama2_7b.yaml", needs_data=False).sweep
    trials = []
    for number, method in enumerate(("lora", "dora")):
        one, results = trial(number, method, 0.0, {"mt_bench_first_turn": 5})
        spec = sweep.trial.model_dump(mode="json")
        spec["adapter"]["method"] = method
        trials.append((Trial(one.trial_id, number, spec, one.metrics, params=one.params), results))

    lines = shown(compare(trials, ("adapter.method",))).splitlines()
    ours = next(index for index, line in enumerate(lines) if "method=dora" in line)
    assert "paper, Table 4" in lines[ours + 1]
    assert "53.30 %" in lines[ours + 1], "ours is a tenth of the rating, in percent"
    assert any("The paper's numbers are of the test split" in line for line in lines)


def test_what_differs_from_the_paper_is_said_below() -> None:
    trials = []
    for number, method in enumerate(("lora", "dora")):
        change = {"adapter": {"method": method}, "training": {"epochs": 1}}
        spec = paper_spec("table2_llama2_7b", change)
        one, results = trial(number, method, 0.0, {"gsm8k": 5, "math": 2})
        trials.append((Trial(one.trial_id, number, spec, one.metrics, params=one.params), results))
    found = compare(trials, ("adapter.method",))
    assert "paper, Table" in shown(found)

    for one, _ in trials:
        one.spec["task"]["num_test"] = 100
        one.spec["training"]["epochs"] = 3
    text = shown(compare(trials, ("adapter.method",)))
    assert "paper, Table" not in text
    assert (
        "The paper's numbers are not shown, since they are of something else: 3 epochs, the "
        "paper's 1 epoch; `num_test: 100`, the paper's is scored on all test examples." in text
    )


def test_the_validation_examples_of_mbpp_are_not_the_papers() -> None:
    trials = []
    for number, method in enumerate(("lora", "dora")):
        spec = paper_spec("table3_llama2_7b", {"adapter": {"method": method}})
        one, results = trial(number, method, 0.0, {"mbpp": 5})
        trials.append((Trial(one.trial_id, number, spec, one.metrics, params=one.params), results))
    text = shown(compare(trials, ("adapter.method",)))
    assert "paper, Table" not in text
    assert "The paper has no number to compare with: the paper's MBPP is the 378" in text
