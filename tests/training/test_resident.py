"""Trials on one resident worker: what they give, and that they leave it as it was."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load
from transformers import AutoModelForCausalLM, AutoTokenizer

from droplora_sweep.errors import InputError, TrialError
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.export.scoring import AdapterScorer
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.data import read
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import scores_of, trained_files

from .conftest import save_model

if TYPE_CHECKING:
    from droplora_sweep.training.reporting import Report

BENCHMARKS = ("builtin_choice", "builtin_math")
LATE_LOSS = ("train/late_fall", "train/late_fall_low", "train/late_pace")


def trial(model: Path, *, dtype: str = "float32", seed: int = 1, training=None, **adapter):
    return TrialSpec(
        model=ModelSpec(path=str(model), dtype=dtype),
        adapter=AdapterSpec(**{"rank": 4, "alpha": 8, "pruning_rate": 0.5, **adapter}),
        task=TaskSpec(benchmarks=BENCHMARKS, num_train=7, num_validation=3),
        training=TrainingSpec(
            **{
                "learning_rate": 1e-2,
                "epochs": 2,
                "global_batch_size": 4,
                "micro_batch_size": 4,
                "warmup_steps": 1,
                **(training or {}),
            }
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=8, max_new_tokens=3),
        seed=seed,
    )


def weights_of(files: dict[str, bytes]) -> dict[str, torch.Tensor]:
    return load(files["adapter_model.safetensors"])


class Decisions:
    """Lets a trial go on until ``stop_after`` reports came, and keeps them."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.reports: list[Report] = []
        self._stop_after = stop_after

    def __call__(self, report: Report | None) -> Decision:
        assert report is not None, "rank 0 has the report"
        self.reports.append(report)
        return Decision.GO_ON if len(self.reports) < self._stop_after else Decision.END


@pytest.fixture(scope="module")
def resident(saved_model: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(saved_model)), threads=1)


def test_a_trial_reports_each_evaluation_and_gives_the_adapter(resident, saved_model) -> None:
    decisions, steps = Decisions(), []
    files = trained_files(
        resident, trial(saved_model), decisions, on_step=lambda *progress: steps.append(progress)
    )
    assert steps == [(step, 8) for step in range(1, 9)]
    evaluations = [report.evaluation for report in decisions.reports]
    places = [(each.number, each.num_evaluations, each.step) for each in evaluations]
    assert places == [(1, 2, 4), (2, 2, 8)]
    for report in decisions.reports:
        assert set(report.evaluation.metrics) == {
            "val/builtin_choice",
            "val/builtin_math",
            "val/mean",
            "train/loss",
            "tokens_per_second",
            "learning_rate",
            "peak_memory_gb",
            "train_seconds",
            "evaluation_seconds",
            "overlong_examples",
            "empty_examples",
            "trainable_parameters",
            "unparsable/builtin_choice",
            "unparsable/builtin_math",
            *(LATE_LOSS if report.evaluation.is_last else ()),
        }
        assert report.evaluation.metrics["tokens_per_second"] > 0
        assert 0.05 < report.evaluation.metrics["peak_memory_gb"] < 8
        assert report.evaluation.metrics["overlong_examples"] == 0
        assert [result.benchmark for result in report.results] == [
            name for name in BENCHMARKS for _ in range(3)
        ]
    first, last = (report.evaluation.metrics["train/loss"] for report in decisions.reports)
    assert last < first - 0.02
    assert decisions.reports[-1].evaluation.metrics["learning_rate"] == pytest.approx(1e-2 / 7)
    assert all(t.any() for name, t in weights_of(files).items() if "lora_B" in name)


def test_a_trial_measures_how_likely_its_references_are(resident, saved_model) -> None:
    spec = trial(saved_model)
    measured = spec.evaluation.model_copy(update={"likelihood": True})
    decisions = Decisions()
    resident.run(spec.model_copy(update={"evaluation": measured}), decisions)
    first, last = (report.evaluation.metrics for report in decisions.reports)
    names = [f"bits_per_byte/val/{name}" for name in (*BENCHMARKS, "mean")]
    # A byte of 258 tokens takes log2 258 = 8.01 bits before anything is learned.
    assert all(0 < last[name] < first[name] < 8.5 for name in names)
    for result in decisions.reports[-1].results:
        assert result.reference_log_probability < 0
        assert result.reference_bytes > 0


def test_one_step_trains_with_every_default(resident, saved_model) -> None:
    """Of the defaults' warmup no step is left over; all 7 examples are one batch."""
    defaults = TrainingSpec(epochs=1)
    spec = trial(saved_model, pruning_rate=0.0).model_copy(update={"training": defaults})
    decisions = Decisions()
    files = trained_files(resident, spec, decisions)
    assert [report.evaluation.step for report in decisions.reports] == [1]
    assert decisions.reports[0].evaluation.metrics["learning_rate"] == defaults.learning_rate
    assert all(t.any() for name, t in weights_of(files).items() if "lora_B" in name)


@pytest.mark.parametrize("method", ["lora", "dora", "pissa", "full"])
def test_a_trial_that_learns_nothing_fails_before_it_is_scored(
    resident, saved_model, method: str
) -> None:
    """A learning rate that is zero in the weights' precision."""
    training = {"learning_rate": 1e-60, "weight_decay": 0.1}
    spec = trial(saved_model, training=training, method=method, pruning_rate=0.0)
    decisions = Decisions()
    with pytest.raises(TrialError) as caught:
        resident.run(spec, decisions)
    assert str(caught.value).startswith(
        "nothing was learned in 8 optimiser steps: the model computes what it did before them."
    )
    assert len(decisions.reports) == 1


def test_a_trial_that_is_stopped_trains_no_further(resident, saved_model) -> None:
    steps: list[int] = []
    resident.run(
        trial(saved_model),
        Decisions(stop_after=1),
        on_step=lambda step, _: steps.append(step),
    )
    assert steps == [1, 2, 3, 4]


def test_the_same_trial_gives_the_same_bytes_in_a_fresh_and_in_a_used_resident(
    resident, saved_model
) -> None:
    a = trial(saved_model, mask="token")
    b = trial(saved_model, mask="step", rank=2, seed=2, training={"global_batch_size": 5})
    first, other, again = (trained_files(resident, spec, Decisions()) for spec in (a, b, a))
    fresh = trained_files(TrialRunner(a.model, threads=1), a, Decisions())
    assert first == again == fresh
    assert first["adapter_model.safetensors"] != other["adapter_model.safetensors"]


# transformers leaves these behind, switched off by a flag and empty.
OF_CHECKPOINTING = {
    "_gradient_checkpointing_func",
    "_require_grads_hooks",
    "gradient_checkpointing",
}


def state(resident: TrialRunner) -> dict[str, object]:
    base = resident._base
    return {
        name: (
            module.training,
            sorted(vars(module).keys() - OF_CHECKPOINTING),
            getattr(module, "gradient_checkpointing", None),
            {key: len(value) for key, value in vars(module).items() if "_hooks" in key and value},
        )
        for name, module in base.named_modules()
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_base_model_is_left_as_it_was(saved_model, dtype: str) -> None:
    spec = trial(saved_model, dtype=dtype, training={"gradient_checkpointing": True})
    resident = TrialRunner(spec.model, threads=1)
    base = resident._base
    tensors = {**dict(base.named_parameters()), **dict(base.named_buffers())}
    values = {name: tensor.clone() for name, tensor in tensors.items()}
    before = state(resident)
    files = trained_files(resident, spec, Decisions())
    after = {**dict(base.named_parameters()), **dict(base.named_buffers())}
    assert state(resident) == before
    assert all(after[name] is tensor for name, tensor in tensors.items())
    for name, tensor in after.items():
        assert tensor.dtype == values[name].dtype
        assert torch.equal(tensor, values[name])
        assert not tensor.requires_grad
        assert tensor.grad is None
    expected = {getattr(torch, dtype)}
    assert {
        tensor.dtype for tensor in load(files["adapter_model.safetensors"]).values()
    } == expected


@pytest.mark.parametrize("mask", ["token", "step"])
def test_gradient_checkpointing_changes_nothing_but_memory(
    resident, saved_model, mask: str
) -> None:
    with_it = trial(saved_model, mask=mask, training={"gradient_checkpointing": True})
    results = [
        weights_of(trained_files(resident, spec, Decisions()))
        for spec in (trial(saved_model, mask=mask), with_it)
    ]
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_without_pruning_it_is_lora(resident, saved_model) -> None:
    ours, lora = (
        weights_of(
            trained_files(
                resident, trial(saved_model, pruning_rate=0.0, method=method), Decisions()
            )
        )
        for method in ("droplora", "lora")
    )
    torch.testing.assert_close(ours, lora, rtol=0, atol=0)


def test_a_trial_that_diverges_fails_and_the_next_one_is_as_ever(resident, saved_model) -> None:
    expected = trained_files(resident, trial(saved_model), Decisions())
    with pytest.raises(TrialError) as caught:
        resident.run(trial(saved_model, training={"learning_rate": 1e30}), Decisions())
    assert str(caught.value) == (
        "loss is nan at step 3 of 8; a lower learning rate than 1e+30 may help"
    )
    assert trained_files(resident, trial(saved_model), Decisions()) == expected


def test_a_decision_that_fails_leaves_the_resident_usable(resident, saved_model) -> None:
    expected = trained_files(resident, trial(saved_model), Decisions())

    def broken(report: Report | None) -> Decision:
        raise ConnectionError("the pool is gone")

    with pytest.raises(ConnectionError, match="the pool is gone"):
        resident.run(trial(saved_model), broken)
    assert trained_files(resident, trial(saved_model), Decisions()) == expected


def test_over_long_examples_are_counted_in_the_report(resident, saved_model, tokenizer) -> None:
    data = read(trial(saved_model), tokenizer, context=512).data
    lengths = sorted(len(sequence.tokens) for sequence in data.sequences)
    decisions = Decisions()
    limit = {"max_sequence_tokens": lengths[5]}
    resident.run(trial(saved_model, training=limit), decisions)
    num_longer = sum(length > lengths[5] for length in lengths)
    assert decisions.reports[0].evaluation.metrics["overlong_examples"] == num_longer > 0


def test_a_limit_that_leaves_no_example_is_refused(resident, saved_model) -> None:
    with pytest.raises(InputError) as caught:
        resident.run(trial(saved_model, training={"max_sequence_tokens": 10}), Decisions())
    assert str(caught.value) == (
        "training.max_sequence_tokens: must leave some of 14 training examples, got 10"
    )


@pytest.mark.slow
def test_memory_does_not_grow_over_trials(resident, saved_model) -> None:
    """After a warm-up; the limit is a fifth of what one leaked adapter with optimiser takes."""

    def resident_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 1e6

    spec = trial(saved_model, rank=256, training={"epochs": 1, "global_batch_size": 8})
    for _ in range(5):
        resident.run(spec, Decisions())
    before = resident_mb()
    for _ in range(20):
        resident.run(spec, Decisions())
    assert resident_mb() - before < 10


def test_another_model_takes_the_residents_place_and_leaves_nothing_of_it(
    saved_model: Path, tmp_path: Path
) -> None:
    other = save_model(tmp_path, num_layers=2)
    expected = trained_files(
        TrialRunner(ModelSpec(path=str(other)), threads=1), trial(other), Decisions()
    )
    resident = TrialRunner(ModelSpec(path=str(saved_model)), threads=1)
    resident.run(trial(saved_model), Decisions())
    before = weakref.ref(resident._base)

    resident.serve(ModelSpec(path=str(other)))

    assert before() is None
    assert trained_files(resident, trial(other), Decisions()) == expected
    kept = resident._base
    resident.serve(ModelSpec(path=str(other)))
    assert resident._base is kept


@pytest.mark.parametrize("method", ["full", "lora", "lora_drop"])
def test_no_engine_outlives_its_trial(resident, saved_model, method: str) -> None:
    """An engine of all weights hung on the base model's hooks, with 12 bytes of each weight."""
    hooks = len(resident._base._forward_pre_hooks), len(resident._base._forward_hooks)
    trained_files(resident, trial(saved_model, method=method, pruning_rate=0.0), Decisions())
    assert (len(resident._base._forward_pre_hooks), len(resident._base._forward_hooks)) == hooks
    gc.collect()
    kept = [one for one in gc.get_objects() if type(one).__name__ == "DeepSpeedEngine"]
    assert kept == []


def test_tokens_without_an_embedding(saved_model: Path, tmp_path: Path) -> None:
    """A pad token is never used; one that the data has is named, and not looked up."""
    model = AutoModelForCausalLM.from_pretrained(saved_model)
    tokenizer = AutoTokenizer.from_pretrained(saved_model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == model.config.vocab_size
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    decisions = Decisions()
    trained_files(TrialRunner(ModelSpec(path=str(tmp_path)), threads=1), trial(tmp_path), decisions)
    assert len(decisions.reports) == 2

    tokenizer.add_tokens(["Below"])
    tokenizer.save_pretrained(tmp_path)
    resident = TrialRunner(ModelSpec(path=str(tmp_path)), threads=1)
    with pytest.raises(InputError) as caught:
        resident.run(trial(tmp_path), Decisions())
    assert str(caught.value) == (
        f"model.path: must have an embedding of every token of the data, got {tmp_path}, whose "
        f"embedding has {model.config.vocab_size:,} rows and none of 'Below'"
    )


def test_the_untrained_model_is_scored_as_plain_transformers_loads_it(
    resident, saved_model
) -> None:
    # A trial that changes the base model comes before.
    resident.run(trial(saved_model, method="pissa", pruning_rate=0.0), Decisions())
    spec = trial(saved_model)
    results = resident.score(spec, "validation").results
    plain = AutoModelForCausalLM.from_pretrained(saved_model, dtype=torch.float32).eval()
    expected = evaluate(plain, load_tokenizer(spec.model), load_task(spec.task), spec.evaluation)
    assert len(results) == 6
    answers = [(one.example_id, one.response, one.correct) for one in expected]
    assert [(one.example_id, one.response, one.correct) for one in results] == answers


def test_what_a_trial_left_is_scored_as_plain_peft_loads_it(resident, saved_model, tmp_path):
    spec = trial(saved_model)
    spec = spec.model_copy(update={"task": spec.task.model_copy(update={"num_test": 9})})
    files = trained_files(resident, spec, Decisions())
    before = torch.random.get_rng_state()
    results = scores_of(resident, spec, "test", files, benchmarks=["builtin_math"])
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    plain = AutoModelForCausalLM.from_pretrained(saved_model, dtype=torch.float32).eval()
    peft_model = PeftModel.from_pretrained(plain, str(tmp_path))
    task = load_task(spec.task).only(["builtin_math"])
    expected = evaluate(peft_model, load_tokenizer(spec.model), task, spec.evaluation, split="test")
    assert [one.benchmark for one in results] == ["builtin_math"] * 9
    answers = [(one.example_id, one.response, one.correct) for one in expected]
    assert [(one.example_id, one.response, one.correct) for one in results] == answers
    assert trained_files(resident, spec, Decisions()) == files


def test_what_is_measured_with_the_scores_is_what_eval_measures(resident, saved_model, tmp_path):
    text, folder = tmp_path / "text.txt", tmp_path / "adapter"
    text.write_text("Two and three make five, and so it goes on and on. " * 40)
    folder.mkdir()
    spec = trial(saved_model)
    update = {"held_out_text": str(text), "on_long_prompt": "truncate"}
    spec = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update=update)})
    for name, content in trained_files(resident, trial(saved_model), Decisions()).items():
        (folder / name).write_bytes(content)
    expected = AdapterScorer(spec, on_gpu=False).measured(folder, "validation")
    found = resident.score(spec, "validation", saved=folder, with_text=True)
    assert [(one.example_id, one.response) for one in found.results] == [
        (one.example_id, one.response) for one in expected.results
    ]
    assert expected.perplexity.keys() == {
        "perplexity/before",
        "perplexity/after",
        "perplexity/ratio",
    }
    measured = {name: found.metrics[name] for name in expected.perplexity}
    assert measured == pytest.approx(expected.perplexity, rel=1e-4)
    long = {name for name in found.metrics if name.startswith("long_prompts/")}
    assert long == {f"long_prompts/{name}" for name in expected.num_long}
    assert resident.score(spec, "validation").metrics == {}


def test_a_whole_model_that_a_trial_left_is_scored_as_transformers_loads_it(
    resident, saved_model, tmp_path
):
    spec = trial(saved_model, method="full", pruning_rate=0.0)
    files = trained_files(resident, spec, Decisions())
    results = scores_of(resident, spec, "validation", files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = evaluate(whole, load_tokenizer(spec.model), load_task(spec.task), spec.evaluation)
    answers = [(one.example_id, one.response) for one in expected]
    assert [(one.example_id, one.response) for one in results] == answers
    untrained = [
        (one.example_id, one.response) for one in resident.score(spec, "validation").results
    ]
    assert answers != untrained
