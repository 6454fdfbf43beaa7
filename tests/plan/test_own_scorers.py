"""A scorer of a user's own is tried before a sweep starts, and is part of what the sweep is."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.plan.survey import prepare
from droplora_sweep.spec import TaskSpec, load_sweep_file

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.plan.survey import Prepared

COMMAND = """
import json, sys
for line in sys.stdin:
    given = json.loads(line)
    print(float(given["reference"] == given["response"]))
"""
FUNCTIONS = """
def same(response, reference):
    return float(response == reference)

def percent(response, reference):
    return 100.0 * (response == reference)
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Prepares a sweep of a benchmark of one's own, in its folder."""
    monkeypatch.chdir(tmp_path)
    records = [
        {"instruction": f"{n}?", "output": f"w{n % 4}", "answer": f"w{n % 4}"} for n in range(24)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    (tmp_path / "score.py").write_text(FUNCTIONS)
    (tmp_path / "score_command.py").write_text(COMMAND)

    def prepared(**benchmark: Any) -> Prepared:
        spec = {"data": "mine.jsonl", **benchmark}
        task = {"benchmarks": {"mine": spec}, "num_validation": 4}
        file = tmp_path / "s.yaml"
        sections = {"confirm": None, "task": task, "evaluation": {"max_new_tokens": 8}}
        file.write_text(yaml.safe_dump({"name": "q", **sections}))
        return prepare(load_sweep_file(file))

    return prepared


def refused(check: Any, **benchmark: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        check(**benchmark)
    return [str(fault).partition("s.yaml:")[2] for fault in caught.value.faults]


def test_a_function_of_a_file_is_found_wherever_a_worker_runs(check: Any, tmp_path: Path) -> None:
    prepared = check(scoring="score.py:same", direction="lower")
    spec = prepared.sweep.task.benchmark_specs["mine"]
    assert spec.scoring == f"{tmp_path}/score.py:same"
    assert spec.direction == "lower"


def test_its_code_is_part_of_what_was_run(check: Any, tmp_path: Path) -> None:
    command = [sys.executable, "score_command.py"]
    for benchmark, file in (
        ({"scoring": "score.py:same"}, "score.py"),
        ({"scoring": "command", "command": command}, "score_command.py"),
    ):
        before = check(**benchmark).data_digests()
        with (tmp_path / file).open("a") as code:
            code.write("# Another.\n")
        after = check(**benchmark).data_digests()
        assert {name for name in before if before[name] != after[name]} == {"mine/scoring"}
    found = check(scoring="command", command=command).sweep.task.benchmark_specs["mine"]
    assert found.command == (sys.executable, f"{tmp_path}/score_command.py")
    assert "mine/scoring" not in check(scoring="exact").data_digests()


def test_one_that_cannot_score_is_one_line_before_anything_is_trained(check: Any) -> None:
    place = ": task.benchmarks.mine.scoring: "
    [line] = refused(check, scoring="score.py:percent")
    assert f"{place}the scorer must give a number in [0, 1], got 100.0 for example " in line
    [line] = refused(check, scoring="score.py:sane")
    assert line.endswith(
        f"{place}must be the name of something in score.py, got sane; did you mean same?"
    )
    [line] = refused(check, scoring="scores:same")
    assert f"{place}must be code that can be imported, got scores:same: " in line
    ends = [sys.executable, "-c", "raise SystemExit(4)"]
    [line] = refused(check, scoring="command", command=ends)
    assert f"{place}the command must end with exit code 0, got exit code 4" in line
    [line] = refused(check, scoring="command", command=["no-such-program"])
    assert "must be a program that can be started, got 'no-such-program': No such file" in line


def test_metrics_that_cannot_be_measured(check: Any, tmp_path: Path) -> None:
    assert check(scoring="exact", metrics=["macro_f1", "f1"]).task.benchmarks[0].metrics == (
        "macro_f1",
        "f1",
    )
    assert check(scoring="bleu", metrics=["rougeL"]).task.benchmarks[0].metrics == (
        "bleu",
        "rougeL",
    )
    [line] = refused(check, scoring="code", metrics=["f1"])
    assert line.endswith(
        "task.benchmarks.mine.metrics: must be left out where code is run or a judge rates, got f1"
    )
    records = [{"instruction": f"{n}?", "output": "w", "answer": f"w{n}"} for n in range(140)]
    (tmp_path / "mine.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    task = {
        "benchmarks": {"mine": {"data": "mine.jsonl", "scoring": "exact", "metrics": ["macro_f1"]}},
        "num_validation": 60,
    }
    file = tmp_path / "many.yaml"
    sections = {"confirm": None, "task": task, "evaluation": {"max_new_tokens": 8}}
    file.write_text(yaml.safe_dump({"name": "q", **sections}))
    with pytest.raises(InputError) as caught:
        prepare(load_sweep_file(file))
    assert str(caught.value).endswith(
        "task.benchmarks.mine.metrics: must have at most 50 different right answers for macro_f1, "
        "got 60"
    )


def test_a_corpus_metric_is_not_searched_by(check: Any, tmp_path: Path) -> None:
    check(scoring="bleu")
    text = (tmp_path / "s.yaml").read_text()
    (tmp_path / "s.yaml").write_text(f"{text}search: {{metric: bleu/val/mine}}\n")
    with pytest.raises(InputError) as caught:
        load_sweep_file(tmp_path / "s.yaml")
    assert str(caught.value).endswith(
        "search.metric: must be one of val/mean, val/mine, got 'bleu/val/mine'"
    )


def test_old_specs_have_no_new_fields() -> None:
    task = TaskSpec.model_validate({"benchmarks": {"mine": {"scoring": "exact"}}})
    dumped = task.model_dump(mode="json")["benchmark_specs"]["mine"]
    assert list(dumped) == [
        *("data", "revision", "split", "format", "scoring", "options", "pattern"),
        *("prompt_suffix", "max_new_tokens", "fields"),
    ]
    own = {"scoring": "command", "command": ["score"], "metrics": ["f1"]}
    task = TaskSpec.model_validate({"benchmarks": {"mine": own}})
    assert TaskSpec.model_validate(task.model_dump(mode="json")) == task
