"""Two workers on one trial, as real processes over gloo, against one worker alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load

from droplora_sweep.evaluation.perplexity import text_loss
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files

if TYPE_CHECKING:
    from droplora_sweep.training.reporting import Report

pytestmark = pytest.mark.slow

# Nothing random that depends on the split, as the step mask.
OTHERS = ({"mask": "learned"}, {"method": "lora_drop"}, {"method": "dora"}, {"method": "milora"})
TEXT = "The old mill by the river had not turned for years. " * 60
ROOT = Path(__file__).parents[2]
WORKER = "tests.training.resident_worker"


def trial(model: Path, learning_rate: float = 1e-2, **adapter) -> TrialSpec:
    """Without dropout: only the step mask is random, and it is the same for any split."""
    fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "pruning_rate": 0.5, "mask": "step"}
    return TrialSpec(
        model=ModelSpec(path=str(model)),
        adapter=AdapterSpec(**{**fields, **adapter}),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=7, num_validation=5),
        training=TrainingSpec(
            learning_rate=learning_rate,
            epochs=2,
            global_batch_size=3,
            micro_batch_size=1,
            warmup_steps=1,
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=2, max_new_tokens=3),
        seed=1,
    )


@pytest.fixture(scope="module")
def seen(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict]]:
    """By rank: what it saw of a whole trial, a diverging one, a stopped one, the first again.

    Then one trial of each of ``OTHERS``.
    """
    folder = tmp_path_factory.mktemp("group")
    (folder / "held_out.txt").write_text(TEXT)
    whole, diverging = trial(saved_model), trial(saved_model, learning_rate=1e30)
    reading = whole.evaluation.model_copy(update={"held_out_text": str(folder / "held_out.txt")})
    whole = whole.model_copy(update={"evaluation": reading})
    trials = [(whole, 9), (diverging, 9), (whole, 1), (whole, 9)]
    trials += [(trial(saved_model, **adapter), 9) for adapter in OTHERS]
    described = [{"spec": s.model_dump(mode="json"), "stop_after": n} for s, n in trials]
    (folder / "trials.json").write_text(json.dumps(described))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", WORKER, str(rank), str(folder)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("number", [0, 4, 5, 6, 7])
def test_two_workers_train_what_one_trains(seen, saved_model: Path, number: int) -> None:
    adapter = OTHERS[number - 4] if number else {}
    alone: list[Report] = []

    def decide(report: Report | None) -> Decision:
        assert report is not None
        alone.append(report)
        return Decision.GO_ON

    resident = TrialRunner(ModelSpec(path=str(saved_model)), threads=1)
    files = trained_files(resident, trial(saved_model, **adapter), decide)
    together = seen[0][number]
    weights = [load(each["adapter_model.safetensors"]) for each in (files, together["files"])]
    torch.testing.assert_close(*weights, rtol=1e-3, atol=2e-5)
    for one, two in zip(alone, together["reports"], strict=True):
        first, second = one.evaluation, two.evaluation
        assert (first.number, first.num_evaluations, first.step) == (
            second.number,
            second.num_evaluations,
            second.step,
        )
        loss = pytest.approx(first.metrics["train/loss"], rel=1e-5)
        assert second.metrics["train/loss"] == loss
        examples = [sorted(result.example_id for result in each.results) for each in (one, two)]
        assert examples[0] == examples[1]
        assert len(examples[0]) == 5


def test_the_workers_read_the_held_out_text_together(seen, saved_model: Path) -> None:
    base = load_base_model(ModelSpec(path=str(saved_model)))
    tokenizer = load_tokenizer(ModelSpec(path=str(saved_model)))
    before = text_loss(base, tokenizer, TEXT.strip()).perplexity
    for report in (*seen[0][0]["reports"], *seen[0][3]["reports"]):
        metrics = report.evaluation.metrics
        assert metrics["perplexity/before"] == pytest.approx(before, rel=1e-5)
        assert metrics["perplexity/after"] != metrics["perplexity/before"]


def test_reports_and_files_come_on_the_first_rank_alone(seen) -> None:
    for first, second in zip(*seen, strict=True):
        assert None not in first["reports"]
        assert second["reports"] == [None] * len(first["reports"])
        assert second["files"] == {}


def test_divergence_fails_the_trial_on_every_rank(seen) -> None:
    first, second = (rank[1]["error"] for rank in seen)
    assert first == second
    assert first.endswith("; a lower learning rate than 1e+30 may help")


def test_a_stopped_trial_ends_on_every_rank(seen) -> None:
    assert [len(rank[2]["reports"]) for rank in seen] == [1, 1]
    assert seen[0][2]["files"].keys() == seen[0][0]["files"].keys()


def test_a_used_group_gives_the_bytes_of_a_fresh_one(seen) -> None:
    assert seen[0][3]["files"] == seen[0][0]["files"]
