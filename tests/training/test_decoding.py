"""Trials whose vLLM is scripted: it fails, is not here, or comes and goes with its trial."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.serving.environment import VARIABLE
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import AdapterSpec, EvaluationSpec, ModelSpec, TaskSpec
from droplora_sweep.spec.evaluation import SamplingSpec
from droplora_sweep.spec.trial import TrainingSpec, TrialSpec
from droplora_sweep.training.decoding import kv_cache_bytes, make_probe, visible_name
from droplora_sweep.training.device import available_memory_bytes
from droplora_sweep.training.runner import TrialRunner
from tests.evaluation.serving.environment import use_scripted_vllm
from tests.saved_files import read_files, trained_files, write_files

if TYPE_CHECKING:
    from droplora_sweep.training.reporting import Report


def trial(model: Path, *, seed: int = 1, backend: str = "vllm", **adapter: Any) -> TrialSpec:
    return TrialSpec(
        model=ModelSpec(path=str(model)),
        adapter=AdapterSpec(**{"rank": 4, "alpha": 8, "pruning_rate": 0.5, **adapter}),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=8, num_validation=3),
        training=TrainingSpec(
            learning_rate=1e-2, epochs=1, global_batch_size=4, micro_batch_size=4, warmup_steps=0
        ),
        evaluation=EvaluationSpec(
            num_evaluations=2, batch_size=8, max_new_tokens=3, backend=backend
        ),
        seed=seed,
    )


@pytest.fixture
def runner(saved_model: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(saved_model)), threads=1)


def run(runner: TrialRunner, spec: TrialSpec) -> list[Report]:
    reports: list[Report] = []

    def decide(report: Report | None) -> Decision:
        assert report is not None
        reports.append(report)
        return Decision.GO_ON

    runner.run(spec, decide)
    return reports


def servers_of(me: int) -> list[int]:
    """Processes that this one has started and that run vLLM's script."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            command = (folder / "cmdline").read_text()
        except (OSError, IndexError):
            continue
        if int(parent) == me and "vllm_server.py" in command:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            {"at": "start", "fault": "raise"},
            "vLLM failed: ValueError: there is no room for it",
        ),
        (
            {"at": "load", "fault": "raise"},
            "vLLM does not load the adapter: ValueError: there is no room for it",
        ),
        ({"deaf": True}, "vLLM takes the adapter, and answers as without one"),
        ({}, "vLLM's responses are not the model's: of "),
    ],
    ids=["start", "adapter", "no effect", "other responses"],
)
def test_a_trial_is_decoded_in_spite_of_its_vllm(
    runner: TrialRunner,
    saved_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    script: dict[str, Any],
    reason: str,
) -> None:
    use_scripted_vllm(monkeypatch, tmp_path, **script)
    expected = run(runner, trial(saved_model, backend="transformers"))
    found = run(runner, trial(saved_model))
    assert "vllm_share" not in expected[0].evaluation.metrics
    for ours, others in zip(found, expected, strict=True):
        assert ours.evaluation.metrics["vllm_share"] == 0
        assert ours.evaluation.metrics["val/mean"] == others.evaluation.metrics["val/mean"]
        assert [one.response for one in ours.results] == [one.response for one in others.results]
        for one in ours.results:
            assert one.note is not None
            assert one.note.startswith(f"decoded by transformers: {reason}")
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len([one for one in warnings if reason in one]) == 1, "told once"
    assert servers_of(os.getpid()) == []


def test_a_worker_tries_vllm_twice(
    runner: TrialRunner, saved_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    use_scripted_vllm(monkeypatch, tmp_path, at="start", fault="die", pid=str(started))
    notes, tries = [], []
    for seed in (1, 2, 3):
        started.unlink(missing_ok=True)
        notes.append(run(runner, trial(saved_model, seed=seed))[-1].results[0].note)
        tries.append(started.exists())
    died = "decoded by transformers: vLLM ended with code 3: OSError: the GPU fell off"
    reason = died.removeprefix("decoded by transformers: ")
    given_up = (
        f"decoded by transformers: vLLM failed 2 times here, and is not tried again: {reason}"
    )
    assert notes == [died, died, given_up]
    assert tries == [True, True, False]


def test_a_base_model_is_scored_by_the_same_rules(
    runner: TrialRunner, saved_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No adapter, nothing to try one with: what it says is compared all the same."""
    use_scripted_vllm(monkeypatch, tmp_path)
    expected = runner.score(trial(saved_model, backend="transformers"), "validation").results
    found = runner.score(trial(saved_model), "validation").results
    assert [one.response for one in found] == [one.response for one in expected]
    assert all("not the model's" in str(one.note) for one in found)


@pytest.mark.parametrize("method", ["rslora", "pissa", "milora", "lora_drop"])
def test_every_method_that_vllm_takes_is_tried(
    runner: TrialRunner,
    saved_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    method: str,
) -> None:
    """Its files are those of a plain adapter before it is trained, too."""
    given = tmp_path / "given"
    use_scripted_vllm(monkeypatch, tmp_path, given=str(given))
    spec = trial(saved_model, method=method)
    # Enough steps for LoRA-drop to sample in.
    training = spec.training.model_copy(update={"epochs": 3})
    run(runner, spec.model_copy(update={"training": training}))
    config = json.loads((given / "adapter_config.json").read_text())
    assert config["init_lora_weights"] in (True, False), "others change the base, and are refused"
    assert config["use_rslora"] == (method == "rslora")
    assert config["r"] == 4 * (2 if method in ("pissa", "milora") else 1)


def test_another_model_ends_the_server(
    runner: TrialRunner, saved_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_scripted_vllm(monkeypatch, tmp_path)
    spec = trial(saved_model)
    # Samples, whose tokens are not compared with the model's.
    sampling = SamplingSpec(num_samples=2, pass_at=(1,))
    update = {"sampling": sampling, "allow_unsandboxed_code": True}
    drawn = spec.evaluation.model_copy(update=update)
    task = spec.task.model_copy(update={"benchmarks": ("builtin_code",)})
    spec = spec.model_copy(update={"evaluation": drawn, "task": task})
    [report, *_] = run(runner, spec)
    assert report.evaluation.metrics["vllm_share"] == 1
    [server] = servers_of(os.getpid())
    run(runner, spec.model_copy(update={"seed": 2}))
    assert servers_of(os.getpid()) == [server], "swapped without a restart"
    runner.serve(ModelSpec())
    assert servers_of(os.getpid()) == []


def test_options_are_scored_without_a_server(
    runner: TrialRunner, saved_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    use_scripted_vllm(monkeypatch, tmp_path, pid=str(started))
    spec = trial(saved_model)
    scored = spec.evaluation.model_copy(update={"choice": "score"})
    [report, *_] = run(runner, spec.model_copy(update={"evaluation": scored}))
    assert "vllm_share" not in report.evaluation.metrics
    assert not started.exists()


def test_vllm_that_is_not_here_is_refused(
    runner: TrialRunner, saved_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(InputError) as caught:
        run(runner, trial(saved_model))
    assert str(caught.value) == (
        "evaluation.backend: must be transformers or auto, got vllm: there is no vLLM in "
        f"{VARIABLE}={tmp_path}, which names vLLM's environment"
    )


def test_a_probe_changes_what_an_untrained_adapter_does_not(
    runner: TrialRunner, saved_model: Path, tmp_path: Path
) -> None:
    spec = trial(saved_model, backend="transformers")
    files = trained_files(runner, spec, lambda _: Decision.END)
    make_probe(write_files(tmp_path, files), 1)
    before, after = (
        load(some["adapter_model.safetensors"]) for some in (files, read_files(tmp_path))
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "lora_B" in name}
    assert all(after[name].any() for name in changed)


def test_a_gpu_has_the_name_that_this_worker_sees_it_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_name(torch.device("cpu")) is None
    assert visible_name(torch.device("cuda", 1)) == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8932f937")
    assert visible_name(torch.device("cuda", 1)) == "GPU-8932f937"


def test_the_cache_has_whole_blocks_for_every_sequence(runner: TrialRunner) -> None:
    config = {"num_hidden_layers": 16, "num_attention_heads": 8, "hidden_size": 512}
    model = torch.nn.Linear(1, 1)
    model.config = type("Config", (), {**config, "num_key_value_heads": 4})
    # Keys and values, fp32, layers, heads and their width; 3 blocks of 128 tokens.
    per_token = 2 * 4 * 16 * 4 * 64
    assert kv_cache_bytes(model, 10, 300) == 10 * 3 * 128 * per_token


def test_available_memory_is_less_than_all(tmp_path: Path) -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_memory_bytes() < total
