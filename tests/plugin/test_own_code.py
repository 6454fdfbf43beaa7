"""Scorers that are a file of one's own beside the search space, in a real sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import fmean
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.files import read_results
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

if TYPE_CHECKING:
    from pathlib import Path

METRICS = """
import os

def length(response, reference):
    return min(1.0, len(response) / 40)

def late(responses, references):
    # The rank that the launcher gives its second worker.
    if os.environ.get("FAIL_FROM") and os.environ.get("RANK", "0") == "1":
        raise LookupError("the word list is gone")
    return [float(one == other) for one, other in zip(responses, references)]
"""
COMMAND = """
import json, sys
for line in sys.stdin:
    given = json.loads(line)
    print(len(set(given["response"])) / max(1, len(given["response"])))
"""
SWEEP = """
name: own
task:
  benchmarks:
    first: {{data: mine.jsonl, scoring: 'own_metrics:{function}', metrics: [f1]}}
    second:
      {{data: more.jsonl, scoring: command, command: [{python}, score.py], direction: lower}}
  num_validation: 8
adapter: {{method: lora, dropout: 0.0, rank: 4}}
training: {{epochs: 1, global_batch_size: 8, micro_batch_size: 8, max_sequence_tokens: 128}}
evaluation: {{num_evaluations: 1, max_new_tokens: 8}}
search: {{num_trials: 1, queue_baselines: false}}
confirm: null
group: {{num_workers: 2, gpus_per_worker: 0}}
"""


def write_sweep(folder: Path, function: str) -> None:
    """Write a folder with a search space, its data and the scorers that it names."""
    for name in ("mine", "more"):
        records = [
            {"instruction": f"{name} {n}?", "output": "word", "answer": f"word {n % 3}"}
            for n in range(24)
        ]
        text = "".join(f"{json.dumps(one)}\n" for one in records)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "own_metrics.py").write_text(METRICS)
    (folder / "score.py").write_text(COMMAND)
    (folder / "own.yaml").write_text(SWEEP.format(function=function, python=sys.executable))


def start(
    folder: Path, function: str, *settings: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run such a sweep in its folder, as a user does."""
    write_sweep(folder, function)
    command = [
        sys.executable,
        "-P",
        "-m",
        "droplora_sweep",
        "run",
        "own.yaml",
        "--address",
        "local",
    ]
    return subprocess.run(
        [*command, "--set", f"storage={folder}", *settings],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_module_and_a_command_score_on_the_workers(tmp_path: Path) -> None:
    done = start(tmp_path, "length")
    assert done.returncode == 0, done.stdout + done.stderr
    check_scores(tmp_path)


def check_scores(storage: Path) -> None:
    """See that the sweep's trial was scored on its workers by both scorers."""
    ledger = Ledger.open(storage, "own")
    [trial] = ledger.search_records()
    assert trial.state is TrialState.COMPLETE
    assert trial.results is not None
    rows = read_results(trial.results)
    first = [row for row in rows if row["benchmark"] == "first"]
    second = [row for row in rows if row["benchmark"] == "second"]
    assert (len(first), len(second)) == (8, 8)
    for row in first:
        assert row["score"] == pytest.approx(min(1.0, len(row["response"]) / 40))
    costs = [len(set(row["response"])) / max(1, len(row["response"])) for row in second]
    assert [row["score"] for row in second] == pytest.approx([1 - cost for cost in costs])
    assert trial.metrics["val/second"] == pytest.approx(1 - fmean(costs))
    assert trial.metrics["cost/val/second"] == pytest.approx(fmean(costs))
    assert trial.metrics["f1/val/first/low"] <= trial.metrics["f1/val/first"]
    assert {"first/scoring", "second/scoring"} <= ledger.record.data_digests.keys()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_one_workers_failure_ends_the_trial_with_its_reason(tmp_path: Path) -> None:
    # The canary would not let it begin.
    start(tmp_path, "late", "--set", "group.canary=false", FAIL_FROM="here")
    [trial] = Ledger.open(tmp_path, "own").search_records()
    assert trial.state is TrialState.FAILED
    assert trial.reason == (
        "first cannot be scored: the scorer raised LookupError: the word list is gone"
    )
    assert trial.results is None
