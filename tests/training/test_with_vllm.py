"""Trials decoded by the real vLLM, in the environment that ``make vllm`` makes.

``python -m pytest -m vllm -s`` prints the table of the guide.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import torch

from droplora_sweep.evaluation.serving.environment import environment_problem
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.spec.trial import BUILTIN, TrainingSpec, TrialSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import scores_of, trained_files

if TYPE_CHECKING:
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.training.reporting import Report

SMOLLM2 = Path(os.environ.get("DROPLORA_TEST_SMOLLM2", "models/smollm2-135m"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        environment_problem() is not None,
        reason="`make vllm` was not run, nor does DROPLORA_VLLM name what it makes",
    ),
]


def trial(path: str, task: TaskSpec, **adapter: Any) -> TrialSpec:
    return TrialSpec(
        model=ModelSpec(path=path),
        adapter=AdapterSpec(**{"rank": 8, "alpha": 16, "pruning_rate": 0.25, **adapter}),
        task=task,
        training=TrainingSpec(
            learning_rate=1e-3, epochs=1, global_batch_size=8, micro_batch_size=4, warmup_steps=2
        ),
        evaluation=EvaluationSpec(
            num_evaluations=1, batch_size=16, max_new_tokens=16, backend="vllm"
        ),
        seed=1,
    )


def by_transformers(spec: TrialSpec) -> TrialSpec:
    evaluation = spec.evaluation.model_copy(update={"backend": "transformers"})
    return spec.model_copy(update={"evaluation": evaluation})


def trained(runner: TrialRunner, spec: TrialSpec) -> tuple[dict[str, bytes], Report]:
    reports = []

    def decide(report: Report | None) -> Decision:
        assert report is not None
        reports.append(report)
        return Decision.GO_ON

    return trained_files(runner, spec, decide), reports[-1]


def equal_share(some: list[ExampleResult], others: list[ExampleResult]) -> float:
    pairs = list(zip(some, others, strict=True))
    assert all(one.example_id == other.example_id for one, other in pairs)
    return sum(one.response == other.response for one, other in pairs) / len(pairs)


@pytest.mark.parametrize("model", ["builtin", "smollm2"])
def test_the_same_adapter_gives_the_same_answers(
    model: str, request: pytest.FixtureRequest
) -> None:
    """Greedy answers with and without an adapter, of 100 prompts or more."""
    path, task, adapter = BUILTIN, TaskSpec(num_train=64, num_validation=64), {}
    if model == "smollm2":
        if not (SMOLLM2 / "model.safetensors").is_file():
            pytest.skip(
                "`make smollm2` was not run, nor does DROPLORA_TEST_SMOLLM2 name what it makes"
            )
        path = str(SMOLLM2)
        data = str(request.getfixturevalue("commonsense"))
        task = TaskSpec(benchmarks=("arc_easy",), data=data, num_train=32, num_validation=100)
        # vLLM's kernels for adapters take their time on a CPU.
        adapter = {"rank": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    spec = trial(path, task, **adapter)
    runner = TrialRunner(spec.model, threads=2)
    files, report = trained(runner, spec)
    metrics = report.evaluation.metrics
    assert metrics["vllm_share"] == 1
    assert metrics["vllm_agreement"] > 0.98
    adapted = report.results, scores_of(runner, by_transformers(spec), "validation", files)
    bare = (
        runner.score(spec, "validation").results,
        runner.score(by_transformers(spec), "validation").results,
    )
    shares = {"with": equal_share(*adapted), "without": equal_share(*bare)}

    row = f"{model}: {len(report.results)} prompts, equal answers {shares}"
    print(f"{row}, agreement {metrics['vllm_agreement']:.4f}")  # noqa: T201
    assert len(report.results) >= 100
    assert min(shares.values()) >= 0.95
    assert equal_share(adapted[0], bare[0]) < 0.9, "the adapter counts"


def test_how_long_both_take() -> None:
    """Evaluations with an adapter, in turns: a measurement, of which only the table tells."""
    spec = trial(BUILTIN, TaskSpec(num_train=16, num_validation=64))
    runner = TrialRunner(spec.model, threads=2)
    files, _ = trained(runner, spec)
    seconds: dict[str, list[float]] = {"vllm": [], "transformers": []}
    for _ in range(6):
        for by in (spec, by_transformers(spec)):
            started_s = time.perf_counter()
            results = scores_of(runner, by, "validation", files)
            seconds[by.evaluation.backend].append(time.perf_counter() - started_s)
            assert {one.note for one in results} == {None}
    # The first of each warms up.
    timed = {name: median(times[1:]) for name, times in seconds.items()}
    print(f"{len(results)} prompts with an adapter: seconds {timed} of {seconds}")  # noqa: T201


def test_two_workers_have_a_server_each(tmp_path: Path) -> None:
    spec = trial(BUILTIN, TaskSpec(num_train=16, num_validation=4))
    described = [{"spec": spec.model_dump(mode="json"), "stop_after": 9}]
    (tmp_path / "trials.json").write_text(json.dumps(described))
    command = [sys.executable, str(Path(__file__).with_name("resident_worker.py"))]
    processes = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    [seen] = torch.load(tmp_path / "rank0.pt", weights_only=False)
    metrics = seen["reports"][-1].evaluation.metrics
    assert metrics["vllm_share"] == 1
    assert metrics["vllm_agreement"] > 0.98
    assert {one.note for one in seen["reports"][-1].results} == {None}
