"""The perplexity of a held-out text, before and after a trial; what a trial leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.evaluation.perplexity import text_loss
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.spec import ModelSpec
from droplora_sweep.training.runner import TrialRunner

from .test_resident import BENCHMARKS, Decisions, trial

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "The old mill by the river had not turned for years. " * 25


def with_evaluation(spec, **fields):
    return spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update=fields)})


def test_a_trial_reports_what_it_forgot(saved_model: Path, tmp_path: Path) -> None:
    text = tmp_path / "held_out.txt"
    text.write_text(TEXT)
    resident = TrialRunner(ModelSpec(path=str(saved_model)), threads=1)
    spec = with_evaluation(trial(saved_model), held_out_text=str(text))
    first, second = Decisions(), Decisions()
    resident.run(spec, first)
    # The base model's perplexity is measured once: the text is not read again.
    text.unlink()
    resident.run(spec, second)

    model = ModelSpec(path=str(saved_model))
    base, tokenizer = load_base_model(model), load_tokenizer(model)
    before = text_loss(base, tokenizer, TEXT.strip()).perplexity
    for one, two in zip(first.reports, second.reports, strict=True):
        metrics = one.evaluation.metrics
        assert metrics["perplexity/before"] == pytest.approx(before, rel=1e-6)
        assert metrics["perplexity/after"] != metrics["perplexity/before"]
        assert metrics["perplexity/ratio"] == pytest.approx(
            metrics["perplexity/after"] / before, rel=1e-6
        )
        assert metrics["perplexity/after"] == two.evaluation.metrics["perplexity/after"]
    without = Decisions()
    resident.run(trial(saved_model), without)
    assert not any(name.startswith("perplexity") for name in without.reports[0].evaluation.metrics)
    assert without.reports[0].evaluation.metrics["empty_examples"] == 0


def test_prompts_that_do_not_fit_are_counted(saved_model: Path) -> None:
    resident = TrialRunner(ModelSpec(path=str(saved_model)), threads=1)
    spec = trial(saved_model, training={"max_sequence_tokens": 2000, "epochs": 1})
    task = spec.task.model_copy(update={"prompt": "x" * 520 + "{instruction}"})
    decisions = Decisions()
    resident.run(spec.model_copy(update={"task": task}), decisions)
    metrics = decisions.reports[0].evaluation.metrics
    assert {name: metrics[f"long_prompts/{name}"] for name in BENCHMARKS} == dict.fromkeys(
        BENCHMARKS, 3.0
    )
