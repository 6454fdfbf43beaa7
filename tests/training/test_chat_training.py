"""Trials on conversations, by the chat template of the model's own tokenizer."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.spec import ModelSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.runner import TrialRunner
from droplora_sweep.training.trainable import trainable

from .test_resident import Decisions, trial

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import TrialSpec

SMOLLM2 = Path(os.environ.get("DROPLORA_TEST_SMOLLM2", "models/smollm2-135m"))


def of(model: Path | str, task: TaskSpec, **sections: Any) -> TrialSpec:
    spec = trial(Path(model), training={"epochs": 2, "global_batch_size": 4})
    spec = spec.model_copy(update={"model": ModelSpec(path=str(model)), "task": task})
    changed = {
        name: getattr(spec, name).model_copy(update=fields) for name, fields in sections.items()
    }
    return spec.model_copy(update=changed)


def metrics_of(runner: TrialRunner, spec: TrialSpec) -> list[dict[str, float]]:
    decisions = Decisions()
    runner.run(spec, decisions)
    return [report.evaluation.metrics for report in decisions.reports]


@pytest.fixture(scope="module")
def builtin() -> TrialRunner:
    return TrialRunner(ModelSpec(), threads=1)


@pytest.mark.parametrize("choice", ["generate", "score"])
def test_the_built_in_model_both_ways(builtin: TrialRunner, choice: str) -> None:
    """Its chat template writes the paper's prompt, so that a trial is the same either way."""
    task = TaskSpec(benchmarks=("builtin_choice",), num_train=8, num_validation=4)
    evaluation = {"choice": choice, "likelihood": True, "max_new_tokens": 6}
    plain = metrics_of(builtin, of("builtin", task, evaluation=evaluation))
    chat = of("builtin", task.model_copy(update={"prompt": "chat"}), evaluation=evaluation)
    for one, other in zip(plain, metrics_of(builtin, chat), strict=True):
        for name in ("train/loss", "val/builtin_choice", "bits_per_byte/val/builtin_choice"):
            assert other[name] == pytest.approx(one[name], rel=1e-6)
        assert math.isfinite(one["train/loss"])


def test_long_conversations_end_with_the_last_answer_that_fits(
    builtin: TrialRunner, tmp_path: Path
) -> None:
    said = [
        {"role": role, "content": f"{text} {number} times"}
        for number in range(3)
        for role, text in (("user", "How often?"), ("assistant", "It is"))
    ]
    long = {"role": "user", "content": "long " * 200}
    records = [{"messages": one} for one in (said, said[:2], [long, said[1]])]
    (tmp_path / "chat.json").write_text(json.dumps(records))
    task = TaskSpec.model_validate(
        {
            "benchmarks": ["builtin_choice"],
            "num_validation": 2,
            "prompt": "chat",
            "train": {"name": "mine", "data": str(tmp_path / "chat.json")},
        }
    )
    loaded, tokenizer = load_task(task), load_tokenizer(ModelSpec())
    sequences = prompts_of(tokenizer, loaded).encode(loaded.training_examples(), "all_turns")
    lengths = sorted(len(one.tokens) for one in sequences if one is not None)
    limit = lengths[1] - 1
    [whole, cut] = sorted(trainable(sequences, limit).sequences, key=lambda one: len(one.tokens))
    assert len(whole.tokens) == lengths[0]
    assert limit >= len(cut.tokens) > lengths[0]
    metrics = metrics_of(
        builtin,
        of(
            "builtin",
            task,
            training={"max_sequence_tokens": limit, "warmup_steps": None, "epochs": 1},
            evaluation={"num_evaluations": 1},
        ),
    )
    assert metrics[-1]["shortened_examples"] == 1
    assert metrics[-1]["overlong_examples"] == 1
    last = task.model_copy(update={"loss_on": "last_turn"})
    sequences = prompts_of(tokenizer, loaded).encode(loaded.training_examples(), last.loss_on)
    data = trainable(sequences, limit)
    assert (len(data.sequences), data.num_overlong, data.num_shortened) == (1, 2, 0)


@pytest.mark.skipif(
    not (SMOLLM2 / "model.safetensors").is_file(),
    reason="`make smollm2` was not run, nor does DROPLORA_TEST_SMOLLM2 name what it makes",
)
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("prompt", [None, "chat"], ids=["paper", "chat"])
def test_smollm2_learns_arc_easy_both_ways(prompt: str | None, commonsense: Path) -> None:
    task = TaskSpec(
        benchmarks=("arc_easy",),
        data=str(commonsense),
        prompt=prompt,
        num_train=32,
        num_validation=8,
    )
    spec = of(
        SMOLLM2,
        task,
        training={"learning_rate": 1e-3, "micro_batch_size": 2, "max_sequence_tokens": 384},
        evaluation={"num_evaluations": 2, "choice": "score", "likelihood": True},
    )
    first, last = metrics_of(TrialRunner(spec.model, threads=2), spec)
    assert last["train/loss"] < 0.7 * first["train/loss"]
    assert last["bits_per_byte/val/arc_easy"] < first["bits_per_byte/val/arc_easy"]
    assert 0 <= last["val/arc_easy"] <= 1
