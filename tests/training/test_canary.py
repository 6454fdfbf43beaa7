"""A trial that is tried in little: what it runs, and that it leaves the resident as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.errors import InputError, SweepError, TrialError
from droplora_sweep.scorers import sandbox
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec, JudgeSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.training.canary import in_little, longest, require_services
from droplora_sweep.training.checkpoints.places import CheckpointsInFolder
from droplora_sweep.training.runner import TrialRunner
from tests.raylets import free_ports

if TYPE_CHECKING:
    from pathlib import Path

HERE = "node a (rank 0 of group g0)"


def trial(model: Path, *, training=None, benchmarks=("builtin_choice", "builtin_math"), **adapter):
    return TrialSpec(
        model=ModelSpec(path=str(model)),
        adapter=AdapterSpec(**{"rank": 4, "alpha": 8, "pruning_rate": 0.5, **adapter}),
        task=TaskSpec(benchmarks=benchmarks, num_train=12, num_validation=5),
        training=TrainingSpec(
            **{"epochs": 3, "global_batch_size": 8, "micro_batch_size": 4, **(training or {})}
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=8, max_new_tokens=200),
        seed=1,
    )


@pytest.fixture(scope="module")
def resident(saved_model: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(saved_model)), threads=1)


def run(resident: TrialRunner, spec: TrialSpec) -> dict[str, bytes]:
    from droplora_sweep.records.messages import Decision

    return resident.run(spec, lambda _: Decision.GO_ON)


def try_out(resident: TrialRunner, spec: TrialSpec, folder: Path) -> None:
    files = folder / "files"
    files.mkdir(exist_ok=True)
    resident.try_out(spec, HERE, checkpoints=CheckpointsInFolder(folder / "saved"), into=files)


def test_it_is_one_step_of_a_micro_batch_on_each_worker_and_short_responses(saved_model) -> None:
    little = in_little(trial(saved_model), world_size=1)
    assert (little.training.epochs, little.training.global_batch_size) == (1, 4)
    assert little.training.micro_batch_size == 4
    assert (little.evaluation.num_evaluations, little.evaluation.max_new_tokens) == (1, 32)
    assert in_little(trial(saved_model), world_size=2).training.global_batch_size == 8
    assert in_little(trial(saved_model), world_size=4).training.global_batch_size == 8


def test_the_longest_sequences_are_trained_on_and_each_worker_scores_one_example(
    resident, saved_model
) -> None:
    spec = trial(saved_model)
    reading = resident._read(spec)
    few = longest(reading, in_little(spec, 2), world_size=2)
    lengths = sorted((len(one.tokens) for one in reading.data.sequences), reverse=True)
    assert [len(one.tokens) for one in few.data.sequences] == lengths[:8]
    assert [len(one.validation) for one in few.task.benchmarks] == [2, 2]


def test_a_benchmark_without_validation_examples_is_tried_on_its_test_split(
    resident, saved_model
) -> None:
    spec = trial(saved_model)
    reading = resident._read(spec)
    first, second = reading.task.benchmarks
    bare = replace(reading, task=replace(reading.task, benchmarks=(replace(first, validation=()),)))
    few = longest(bare, in_little(spec, 1), world_size=1)
    assert few.task.benchmarks[0].validation == first.test()[:1]
    assert second.validation


def test_too_few_sequences_are_taken_again(resident, saved_model) -> None:
    spec = trial(saved_model, training={"global_batch_size": 100, "micro_batch_size": 100})
    few = longest(resident._read(spec), in_little(spec, 1), world_size=1)
    assert len(few.data.sequences) == 100


@pytest.mark.parametrize(
    "adapter",
    [{}, {"mask": "token"}, {"method": "full"}, {"method": "lora_drop", "pruning_rate": 0.0}],
    ids=["static", "token", "full", "lora_drop"],
)
def test_a_trial_gives_the_same_bytes_with_and_without_a_canary_before_it(
    resident, saved_model, adapter, tmp_path: Path
) -> None:
    spec = trial(saved_model, training={"learning_rate": 1e-2})
    without = run(TrialRunner(spec.model, threads=1), spec)
    before = {name: value.clone() for name, value in resident._base.state_dict().items()}
    try_out(resident, trial(saved_model, **adapter), tmp_path)
    after = resident._base.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert run(resident, spec) == without


def test_a_first_step_that_changes_nothing_is_no_fault(
    resident, saved_model, tmp_path: Path
) -> None:
    """Of weights in low precision one small step may leave every bit as it was."""
    tiny = {"learning_rate": 1e-30}
    with pytest.raises(TrialError, match="nothing was learned"):
        run(resident, trial(saved_model, method="full", pruning_rate=0, training=tiny))
    spec = trial(saved_model, method="full", pruning_rate=0, training=tiny)
    try_out(resident, spec, tmp_path)


def test_a_loss_that_is_not_finite_is(resident, saved_model, tmp_path: Path) -> None:
    weight = resident._base.get_output_embeddings().weight
    kept = weight[0, 0].item()
    try:
        with torch.no_grad():
            weight[0, 0] = float("nan")
        with pytest.raises(TrialError, match="nan at step 1"):
            try_out(resident, trial(saved_model), tmp_path)
    finally:
        with torch.no_grad():
            weight[0, 0] = kept


def test_a_checkpoint_is_written_read_back_and_removed(
    resident, saved_model, tmp_path: Path
) -> None:
    try_out(resident, trial(saved_model), tmp_path)
    assert (tmp_path / "files" / WEIGHTS_FILE).is_file()
    assert not (tmp_path / "saved").exists()
    (tmp_path / "saved").write_text("in the way")
    with pytest.raises(SweepError, match="saved: cannot write: File exists"):
        try_out(resident, trial(saved_model), tmp_path)


def test_a_scorer_that_raises_is_named(resident, saved_model, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def rate(response, reference):\n    raise OSError('no key')")
    records = ",".join(
        f'{{"instruction": "Say {each}.", "output": "{each}", "answer": "{each}"}}'
        for each in range(40)
    )
    (tmp_path / "own.json").write_text(f"[{records}]")
    own = {"data": str(tmp_path / "own.json"), "scoring": f"{tmp_path / 'own.py'}:rate"}
    spec = trial(saved_model)
    task = TaskSpec.model_validate(
        {"benchmarks": {"own": own}, "num_train": 8, "num_validation": 8}
    )
    with pytest.raises(InputError) as caught:
        try_out(resident, spec.model_copy(update={"task": task}), tmp_path)
    assert str(caught.value) == (
        "task.benchmarks.own.scoring: must score the model's responses: own cannot be scored: the "
        f"scorer raised OSError: no key; {HERE}"
    )


def test_code_needs_the_workers_own_sandbox(
    resident, saved_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = trial(saved_model, benchmarks=("builtin_code",))
    task = resident._read(spec).task
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._probe.cache_clear()
    with pytest.raises(InputError) as caught:
        require_services(spec, task, HERE)
    message = str(caught.value)
    assert message.startswith("evaluation.allow_unsandboxed_code: code answers must be run in a ")
    assert message.endswith(f"; {HERE}")
    assert "got no `bwrap` on PATH" in message
    # Nothing else needs it.
    require_services(spec, resident._read(trial(saved_model)).task, HERE)


def test_a_judge_needs_to_answer_where_conversations_are_rated(resident, saved_model) -> None:
    [port] = free_ports(1)
    judge = JudgeSpec(model="m", url=f"http://127.0.0.1:{port}/v1", prompts="p", cache="c")
    spec = trial(saved_model)
    evaluation = spec.evaluation.model_copy(update={"judge": judge})
    judged = spec.model_copy(update={"evaluation": evaluation})
    task = resident._read(spec).task
    require_services(judged, task, HERE)
    [first, _] = task.benchmarks
    from droplora_sweep.scorers.table import SCORERS

    [rated] = [scorer for scorer in SCORERS.values() if scorer.is_rated]
    asked = replace(task, benchmarks=(replace(first, scorer=rated),))
    with pytest.raises(InputError) as caught:
        require_services(judged, asked, HERE)
    message = str(caught.value)
    assert message.startswith(
        "evaluation.judge.url: must answer on every worker's node, got no connection"
    )
    assert message.endswith(f"; {HERE}")
