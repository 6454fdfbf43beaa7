"""`droplora-sweep eval`: an adapter, a whole model, an MLflow run or a base model on a task."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from typing import TYPE_CHECKING

import mlflow
import pytest
import torch
import yaml
from mlflow import MlflowClient

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.ledger.files import read_results
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.spec import TrialSpec
from tests.saved_files import saved_files

if TYPE_CHECKING:
    from pathlib import Path

Call = "Callable[..., tuple[int, str, str]]"
SPEC = {
    "adapter": {"rank": 4, "alpha": 8, "pruning_rate": 0.5},
    "task": {"benchmarks": ["builtin_choice"], "num_train": 8, "num_validation": 6, "num_test": 4},
    "evaluation": {"max_new_tokens": 4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A file, an adapter with random weights in a folder, and the same in an MLflow run."""
    path = tmp_path_factory.mktemp("eval")
    sweep = {"name": "eval", "storage": str(path / "results"), **SPEC}
    (path / "s.yaml").write_text(yaml.safe_dump(sweep))
    trial = TrialSpec.model_validate(SPEC)
    adapted = attach(load_base_model(trial.model), trial.adapter, seed=1)
    for name, parameter in adapted.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    (path / "adapter").mkdir()
    for name, content in saved_files(adapted, trial).items():
        (path / "adapter" / name).write_bytes(content)
    (path / "results").mkdir()
    client = MlflowClient(mlflow_uri(path / "results"))
    experiment = client.create_experiment("eval", (path / "artifacts").as_uri())
    for run_name in ("with", "without"):
        run = client.create_run(experiment, run_name=run_name).info.run_id
        (path / run_name).write_text(run)
        if run_name == "with":
            client.log_artifacts(run, str(path / "adapter"), "adapter")
    mlflow.set_tracking_uri(None)
    return path


def test_an_adapter_and_its_run_score_alike_and_unlike_the_base_model(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    file, run = str(folder / "s.yaml"), (folder / "with").read_text()
    rows = {}
    for name, options in {
        "base": [],
        "folder": ["--adapter", str(folder / "adapter")],
        "run": ["--adapter", run],
    }.items():
        output = tmp_path / name
        code, printed, complaints = call("eval", file, *options, "--output", str(output))
        assert (code, complaints) == (0, "")
        assert "accuracy on the validation split" in " ".join(printed.split())
        rows[name] = read_results(output / "results.parquet")
        written = json.loads((output / "scores.json").read_text())
        correct = [row["correct"] for row in rows[name]]
        assert written["scores"]["builtin_choice"] == sum(correct) / 6
    assert rows["folder"] == rows["run"] != rows["base"]


def test_a_held_out_text_is_read_before_and_after(call: Call, folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The old mill by the river had not turned for years. " * 25)
    file, setting = str(folder / "s.yaml"), f"evaluation.held_out_text={text}"
    output = tmp_path / "adapter"
    adapter = ["--adapter", str(folder / "adapter"), "--output", str(output)]
    code, printed, _ = call("eval", file, "--set", setting, *adapter)
    assert code == 0
    found = json.loads((output / "scores.json").read_text())
    assert found["protocol"] == "paper"
    before, after = (found["perplexity"][f"perplexity/{name}"] for name in ("before", "after"))
    assert before != after
    assert found["perplexity"]["perplexity/ratio"] == after / before
    assert f"perplexity of the held-out text: {before:.4g} before, {after:.4g} after" in printed
    code, printed, _ = call("eval", file, "--set", setting)
    assert code == 0
    assert f"perplexity of the held-out text: {before:.4g}\n" in printed
    assert "(paper protocol, 95 % intervals)" in " ".join(printed.split())


def test_the_test_split_is_scored_when_it_is_asked_for(call: Call, folder: Path) -> None:
    code, printed, _ = call("eval", str(folder / "s.yaml"), "--split", "test")
    assert code == 0
    assert "accuracy on the test split" in " ".join(printed.split())
    assert "│ builtin_choice │        4 │" in printed


def test_what_is_no_adapter_is_refused_in_one_line(call: Call, folder: Path) -> None:
    file = str(folder / "s.yaml")
    (folder / "empty").mkdir(exist_ok=True)
    without = (folder / "without").read_text()
    for name, problem in {
        "nowhere": "--adapter: must be a folder or the id of an MLflow run, got nowhere",
        str(folder / "empty"): "must hold adapter_config.json (an adapter) or config.json (a model",
        without: f"--adapter: run {without} must have an adapter, got none",
        "0" * 32: f"--adapter: cannot read run {'0' * 32}",
    }.items():
        code, _, complaints = call("eval", file, "--adapter", name)
        assert code == 1
        assert problem in complaints
        assert len(complaints.strip().splitlines()) == 1
    code, _, complaints = call("eval", file, "--adapter", without, "--storage", str(folder))
    assert "--storage: must hold mlflow.db for an MLflow run" in complaints


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt"])
def test_a_pickle_is_refused_before_anything_loads_it(
    call: Call, folder: Path, tmp_path: Path, name: str
) -> None:
    damaged = tmp_path / "adapter"
    shutil.copytree(folder / "adapter", damaged)
    marker = tmp_path / "ran"
    (damaged / name).write_bytes(pickle.dumps(_Malicious(str(marker))))
    code, _, complaints = call("eval", str(folder / "s.yaml"), "--adapter", str(damaged))
    assert (code, complaints) == (
        1,
        f"{damaged / name}: must not be a pickle, which can run code when it is loaded\n",
    )
    assert not marker.exists()


def test_an_adapter_without_safetensors_is_refused(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "adapter", tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    code, _, complaints = call(
        "eval", str(folder / "s.yaml"), "--adapter", str(tmp_path / "adapter")
    )
    assert (code, complaints) == (
        1,
        f"{tmp_path / 'adapter'}: must hold adapter_model.safetensors\n",
    )


class _Malicious:
    def __init__(self, marker: str) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._marker,)


def test_scored_options_are_compared_with_generation_on_demand(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    file = str(folder / "s.yaml")
    compared = ("eval", file, "--compare-generation", "--output", str(tmp_path))
    code, _, complaints = call(*compared)
    assert code == 2
    assert "evaluation.choice: must be score with --compare-generation, got generate" in complaints
    code, printed, _ = call(*compared, "--set", "evaluation.choice=score")
    assert code == 0
    assert "builtin_choice: scored options agree with generation in " in printed
    agreement = json.loads((tmp_path / "scores.json").read_text())["agreement"]["builtin_choice"]
    rows = read_results(tmp_path / "results.parquet")
    assert agreement["num_examples"] == len(rows) == 6
    assert all(row["log_probability"] is not None for row in rows)
    file = str(tmp_path / "code.yaml")
    task = {"benchmarks": ["builtin_math"], "num_train": 8, "num_validation": 6, "num_test": 4}
    sweep = {"name": "math", "task": task, "evaluation": {"choice": "score"}}
    (tmp_path / "code.yaml").write_text(yaml.safe_dump(sweep))
    code, _, complaints = call("eval", file, "--compare-generation")
    assert code == 2
    assert (
        "task.benchmarks: must have one with `scoring: choice` with --compare-generation, got none"
        in complaints
    )
