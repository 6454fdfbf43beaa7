"""A real search by the likelihood of references: measured, followed, resumed and kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

from droplora_sweep.analysis.comparisons import choose_comparisons
from droplora_sweep.analysis.surface.posterior import SearchPosterior
from droplora_sweep.ledger.files import read_likelihoods, read_references
from droplora_sweep.ledger.reader import Ledger, recorded_sweep

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
METRIC = "bits_per_byte/val/mean"
LEFT_OUT = "left out"
SETTINGS = {
    "task.benchmarks": "[builtin_choice, builtin_math]",
    "task.num_train": 32,
    "task.num_validation": 12,
    "training.epochs": 1,
    "evaluation.likelihood": "true",
    "evaluation.max_new_tokens": 12,
    "evaluation.num_evaluations": 2,
    "group.num_workers": 2,
    "group.max_groups": 1,
    "confirm": "null",
    "search.metric": METRIC,
    "search.num_startup_trials": 2,
    "search.stopping": "{kind: asha, reduction_factor: 2}",
}


AUTO = {
    "evaluation.likelihood": LEFT_OUT,
    "task.benchmarks": "[builtin_choice]",
    "evaluation.num_evaluations": 1,
    "confirm": "{rates: 1, seeds: 3}",
    "search.metric": "auto",
    "search.stopping": "none",
}


def run(storage: Path, num_trials: int, **settings: str) -> str:
    given = {**SETTINGS, **settings, "storage": storage, "search.num_trials": num_trials}
    given = {name: value for name, value in given.items() if value != LEFT_OUT}
    words = [part for path, value in given.items() for part in ("--set", f"{path}={value}")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"),
            *("--address", "local"),
            *words,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_search_by_likelihood(tmp_path: Path) -> None:
    printed = run(tmp_path, 3)
    assert re.search(rf"evaluated 1, step \d+: {METRIC} \d+\.\d", printed), printed
    assert re.search(rf" complete +{METRIC} \d+\.\d", printed), printed
    run(tmp_path, 5)
    ledger = Ledger.open(tmp_path, "quickstart")
    trials = ledger.record.search_trials
    assert len(trials) == 5
    complete = [one for one in trials if one.state == "COMPLETE"]
    least = min(one.metrics[METRIC] for one in complete)
    assert ledger.study.best_value == pytest.approx(-least)
    for trial in trials:
        assert trial.results is not None
        references = read_references(trial.results)
        assert {name: len(some) for name, some in references.items()} == {
            "builtin_choice": 12,
            "builtin_math": 12,
        }
        likelihoods = read_likelihoods(trial.results)
        means = [fmean(examples.values()) for examples in likelihoods.values()]
        assert -fmean(means) == pytest.approx(trial.metrics[METRIC])


def test_auto_confirms_what_the_likelihood_chooses(tmp_path: Path) -> None:
    printed = run(tmp_path, 7, **AUTO)
    assert re.search(rf" complete +{METRIC} \d+\.\d", printed), printed
    ledger = Ledger.open(tmp_path, "quickstart")
    searched, confirmed = ledger.record.search_trials, ledger.record.confirm_trials
    parameters = recorded_sweep(ledger.record).search.parameters
    model = SearchPosterior(searched, parameters, ledger.scores, ledger.likelihoods)
    [chosen] = choose_comparisons(searched, num_rates=1, model=model)
    assert {one.arm for one in confirmed} == {arm.name for arm in chosen.arms}
    assert len(confirmed) == 6
    # The decision is on scores.
    assert all("confirm/builtin_choice" in one.metrics for one in confirmed)
