"""A benchmark with a scoring of its own that an installed package brings, in a real sweep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import fmean

import pytest

from droplora_sweep.ledger.files import read_results
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .installing import install, run

PACKAGE = Path(__file__).parent / "droplora_plugin_scorer"
SWEEP = """
name: brought
task:
  benchmarks:
    colours:
    mine: {{data: {data}, scoring: {scoring}}}
  num_validation: 8
adapter: {{method: lora, dropout: 0.0, rank: 4}}
training: {{epochs: 1, global_batch_size: 8, micro_batch_size: 8, max_sequence_tokens: 128}}
evaluation: {{num_evaluations: 1, max_new_tokens: 8}}
search: {{num_trials: 1, queue_baselines: false}}
confirm: null
group: {{num_workers: 2, gpus_per_worker: 0}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages, the plug-in among them."""
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, PACKAGE)
    return folder


def write_sweep(folder: Path, scoring: str = "word_set", answer: str = "white grey") -> Path:
    """Write a sweep of the plug-in's benchmark and of data of one's own that it scores too."""
    records = [
        {"instruction": f"{number}: which are colours?", "output": answer, "answer": answer}
        for number in range(24)
    ]
    data = folder / "mine.jsonl"
    data.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    file = folder / "brought.yaml"
    file.write_text(SWEEP.format(data=data, scoring=scoring))
    return file


def f1(response: str, gold: str) -> float:
    said, right = set(response.split()), set(gold.split())
    return 2 * len(said & right) / (len(said) + len(right))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_its_benchmark_is_planned_trained_and_scored_on_the_workers(
    site: Path, tmp_path: Path
) -> None:
    sweep = str(write_sweep(tmp_path))
    planned = run(site, "plan", sweep)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "colours" in planned.stdout

    where = ["--set", f"storage={tmp_path}", "--address", "local"]
    done = run(site, "run", sweep, *where)
    assert done.returncode == 0, done.stdout + done.stderr

    [trial] = Ledger.open(tmp_path, "brought").search_records()
    assert trial.state is TrialState.COMPLETE
    assert trial.results is not None
    rows = read_results(trial.results)
    assert [row["benchmark"] for row in rows].count("colours") == 8
    for name in ("colours", "mine"):
        own = [row for row in rows if row["benchmark"] == name]
        for row in own:
            assert row["score"] == pytest.approx(f1(row["response"], row["gold"]))
            assert row["correct"] == (row["score"] == 1)
        assert trial.metrics[f"val/{name}"] == pytest.approx(fmean(row["score"] for row in own))
    assert trial.adapter is not None
    assert "Which of these are colours: red owl blue?" in (trial.adapter / "README.md").read_text()

    # Its results are read where it is not installed.
    shutil.rmtree(site)
    listed = run(site, "best", "brought", "--storage", str(tmp_path))
    assert listed.returncode == 0, listed.stderr
    assert "colours" in listed.stdout


def test_it_refuses_answers_with_the_place_of_each(site: Path, tmp_path: Path) -> None:
    done = run(site, "validate", str(write_sweep(tmp_path, answer="red red")))
    assert done.returncode == 2
    problem = "answer: must name each word once, got 'red red'"
    assert done.stderr.splitlines()[0] == (
        f"{tmp_path}/brought.yaml:6: task.benchmarks.mine.data: {tmp_path}/mine.jsonl:1: {problem}"
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no_such_package:Scorer", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("word_sets:load", "TypeError: load() missing 1 required positional argument: 'folder'"),
        ("builtins:dict", "must return a Scorer, got dict"),
    ],
)
def test_one_that_cannot_be_used_is_one_line(
    site: Path, tmp_path: Path, value: str, problem: str
) -> None:
    [entry_points] = site.glob("*.dist-info/entry_points.txt")
    entry_points.write_text(f"[droplora_sweep.scorers]\nword_set = {value}\n")
    done = run(site, "validate", str(write_sweep(tmp_path)))
    assert done.returncode == 2
    place = f"{tmp_path}/brought.yaml:6: task.benchmarks.mine.scoring"
    assert f"{place}: entry point word_set = {value}: {problem}" in done.stderr.splitlines()


def test_one_that_takes_a_name_of_ours(site: Path, tmp_path: Path) -> None:
    [entry_points] = site.glob("*.dist-info/entry_points.txt")
    with entry_points.open("a") as file:
        file.write("exact = word_sets:WordSetScorer\n")
    done = run(site, "validate", str(write_sweep(tmp_path, scoring="exact")))
    assert done.returncode == 2
    assert (
        f"{tmp_path}/brought.yaml:6: task.benchmarks.mine.scoring: entry point exact = "
        "word_sets:WordSetScorer: must have another name than what is built in, got exact; "
        "uninstall droplora-plugin-scorer, or rename its entry point"
    ) in done.stderr.splitlines()


def test_one_that_is_not_installed(site: Path, tmp_path: Path) -> None:
    shutil.rmtree(site)
    done = run(site, "validate", str(write_sweep(tmp_path)))
    assert done.returncode == 2
    assert (
        f"{tmp_path}/brought.yaml:6: task.benchmarks.mine.scoring: must be 'choice', 'number', "
        "'math', 'code', 'judge', 'exact', 'regex', 'f1', 'exact_match', 'bleu', 'chrf', "
        "'rouge1', 'rouge2', 'rougeL', 'command' or MODULE:FUNCTION, got 'word_set'"
    ) in done.stderr.splitlines()
