"""Every architecture that `validate` accepts is trained, evaluated and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files
from tests.training.architectures import CONFIGS, make
from tests.training.byte_model import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.training.reporting import Report

pytestmark = pytest.mark.slow

ADAPTERS = {name: {"target_modules": targets} for name, (_, targets) in CONFIGS.items()}
ADAPTERS["mixtral experts"] = {"target_modules": ("w1", "w2", "w3"), "pruning_rate": 0.0}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_trial_runs_to_its_end(tmp_path: Path, name: str) -> None:
    make(name.partition(" ")[0]).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    adapter = {"rank": 4, "alpha": 8, "dropout": 0.0, "pruning_rate": 0.5, **ADAPTERS[name]}
    spec = TrialSpec(
        model=ModelSpec(path=str(tmp_path)),
        adapter=AdapterSpec.model_validate(adapter),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=8, num_validation=2),
        training=TrainingSpec(
            learning_rate=1e-2, epochs=2, global_batch_size=4, max_sequence_tokens=496
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=2, max_new_tokens=2),
    )
    reports: list[Report] = []

    def decide(report: Report | None) -> Decision:
        assert report is not None
        reports.append(report)
        return Decision.GO_ON

    files = trained_files(TrialRunner(spec.model, threads=1), spec, decide)

    first, last = (report.evaluation.metrics["train/loss"] for report in reports)
    assert last < first
    assert {"adapter_config.json", "adapter_model.safetensors"} <= files.keys()
