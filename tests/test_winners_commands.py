"""`best --json`, `export`, `register`: what a sweep has found, taken out of it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.export.exporting import Format, export
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.publishing import verify_folder
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.spec import ModelSpec
from droplora_sweep.spec.fields import with_fields
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RANK = 4
PROMPT = "three plus four"
WHOLE_BYTES = 64 << 20
"""Weights of a trial that trains a whole model; nothing here loads them."""


def adapter_files(
    folder: Path, targets: Sequence[str] = ("q_proj", "down_proj"), **config: Any
) -> dict[str, bytes]:
    """An adapter that changes the model: both of its factors are random."""
    torch.manual_seed(0)
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=RANK,
        lora_alpha=8,
        target_modules=list(targets),
        init_lora_weights=False,
        **config,
    )
    get_peft_model(load_base_model(ModelSpec()), lora).save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**files, "droplora.json": b"{}\n"}


def answers(num_correct: int) -> list[ExampleResult]:
    return [
        ExampleResult("builtin_choice", f"e{index}", "A", "A", "A", index < num_correct, 1)
        for index in range(16)
    ]


@pytest.fixture(scope="module")
def sweep(
    small_sweep: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> LedgerWriter:
    """p = 0 with 4 of 16 right, p = 0.5 with 12; then DoRA, a whole model, rsLoRA, and a head."""
    folder = tmp_path_factory.mktemp("winners")
    spec = small_sweep(adapter={"rank": RANK, "alpha": 8}, task={"benchmarks": ["builtin_choice"]})
    ledger = LedgerWriter.create(
        folder / "results", spec, data_digests={"builtin_choice/train": "ab" * 32}
    )
    plain = adapter_files(folder / "plain")

    def add(number: int, num_correct: int, files: dict[str, bytes], **fields: Any) -> None:
        trial = with_fields(spec.trial, fields)
        fingerprint = f"{number + 10:08x}" + "0" * 56
        name = trial_id(number, fingerprint)
        params = {"adapter.pruning_rate": trial.adapter.pruning_rate}
        ledger.trial_started(planned(name, number, fingerprint, trial, params))
        score = num_correct / 16
        metrics = {"val/builtin_choice": score, "val/mean": score}
        ledger.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
        ledger.trial_finished(
            name, TrialState.COMPLETE, adapter_files=files, results=answers(num_correct)
        )

    add(0, 4, plain, **{"adapter.pruning_rate": 0.0})
    add(1, 12, plain, **{"adapter.pruning_rate": 0.5})
    add(2, 1, plain, **{"adapter.method": "dora", "adapter.pruning_rate": 0.0})
    whole = {"config.json": b"{}", "model.safetensors": bytes(WHOLE_BYTES)}
    add(3, 1, whole, **{"adapter.method": "full", "adapter.pruning_rate": 0.0})
    stable = adapter_files(folder / "stable", use_rslora=True)
    add(4, 1, stable, **{"adapter.method": "rslora", "adapter.pruning_rate": 0.0})
    head = adapter_files(folder / "head", targets=("q_proj", "lm_head"))
    add(5, 1, head, **{"adapter.pruning_rate": 0.0, "adapter.rank": 2})
    ledger.trial_tested(ledger.records()[1].trial_id, answers(8))
    ledger.close()
    return ledger


def logits(model: Any) -> torch.Tensor:
    tokens = AutoTokenizer.from_pretrained(BUILTIN_FOLDER)(PROMPT, return_tensors="pt").input_ids
    with torch.no_grad():
        return model(tokens).logits


def adapted(folder: Path) -> Any:
    return PeftModel.from_pretrained(load_base_model(ModelSpec()), folder)


def test_the_best_setting_of_each_benchmark_as_json(call: Any, sweep: LedgerWriter) -> None:
    code, printed, complaints = call("best", "small", "--json", "--storage", str(sweep.storage))
    assert (code, complaints) == (0, "")
    content = json.loads(printed)
    assert {key: content[key] for key in ("schema", "sweep", "protocol")} == {
        "schema": 1,
        "sweep": "small",
        "protocol": "paper",
    }
    [winner] = content["benchmarks"]
    assert list(winner) == [
        *("benchmark", "kind", "pruning_rate", "mean", "difference", "p_value", "verdict"),
        *("statement", "reasons", "setting", "trial", "references"),
    ]
    assert winner["benchmark"] == "builtin_choice"
    assert winner["kind"] == "exploratory"
    assert winner["trial"] == sweep.records()[1].trial_id
    assert winner["setting"] == {"adapter.pruning_rate": 0.5}
    assert winner["mean"]["value"] == 0.75
    assert 0.4 < winner["mean"]["low"] < 0.75 < winner["mean"]["high"] < 0.95
    assert winner["difference"]["value"] == 0.5
    assert 0 < winner["p_value"] < 0.05
    assert winner["verdict"] == "better than p = 0"
    assert winner["statement"] == "p = 0.5 is better than p = 0"
    [rates] = content["tables"]
    assert rates["columns"] == ["pruning rate", "builtin_choice", "trials"]
    assert rates["rows"][1] == [0.5, winner["mean"], "1 complete"]


def test_one_benchmark_in_a_line(call: Any, sweep: LedgerWriter) -> None:
    code, printed, _ = call(
        *("best", "small", "--task", "builtin_choice", "--storage", str(sweep.storage))
    )
    assert code == 0
    name = sweep.records()[1].trial_id
    assert printed.startswith(f"builtin_choice: p = 0.5 ({name}), with 75.0% [")
    assert printed.endswith("against p = 0; p = 0.5 is better than p = 0; exploratory\n")


def test_an_unknown_benchmark_is_refused(call: Any, sweep: LedgerWriter) -> None:
    code, _, complaints = call("best", "small", "--task", "gsm", "--storage", str(sweep.storage))
    assert (code, complaints) == (2, "--task: must be one of builtin_choice, got gsm\n")


def test_an_exported_adapter_is_the_trials_with_a_card_that_tells_all(
    call: Any, sweep: LedgerWriter, tmp_path: Path
) -> None:
    output = tmp_path / "winner"
    task = ("--task", "builtin_choice")
    code, _, complaints = call(
        *("export", "small", *task, "--output", str(output), "--storage", str(sweep.storage))
    )
    assert (code, complaints) == (0, "")
    verify_folder(output)
    source = sweep.records()[1].adapter
    assert source is not None
    weights = "adapter_model.safetensors"
    assert (output / weights).read_bytes() == (source / weights).read_bytes()
    card = (output / "README.md").read_text()
    assert "| builtin_choice | 0.7500 | 0.5050 to 0.8982 |" in card
    assert f"| builtin_choice/train | `{'ab' * 32}` |" in card
    assert "| builtin_choice | 0.5000 | 0.2800 to 0.7200 |" in card
    assert "PeftModel.from_pretrained(model, folder)" in card
    assert "pruning_rate: 0.5" in card


def test_a_merged_model_computes_what_the_adapter_does(
    call: Any, sweep: LedgerWriter, tmp_path: Path
) -> None:
    output = tmp_path / "merged"
    code, _, complaints = call(
        *("export", "small", "t0001", "--format", "merged", "--output", str(output)),
        *("--storage", str(sweep.storage)),
    )
    assert (code, complaints) == (0, "")
    verify_folder(output)
    merged = AutoModelForCausalLM.from_pretrained(output)
    assert merged.dtype is torch.float32
    adapter = sweep.records()[1].adapter
    assert adapter is not None
    expected = logits(adapted(adapter))
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)
    # The update is large enough to be missed.
    assert (logits(load_base_model(ModelSpec())) - expected).abs().max() > 0.1
    AutoTokenizer.from_pretrained(output)
    assert "full model in float32" in (output / "README.md").read_text()


def test_a_whole_model_is_exported_without_being_read_into_memory(
    sweep: LedgerWriter, tmp_path: Path
) -> None:
    [trial] = [one for one in sweep.records() if one.spec["adapter"]["method"] == "full"]
    tracemalloc.start()
    try:
        export(sweep, trial, tmp_path / "whole", Format.MERGED)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "whole" / "model.safetensors").stat().st_size == WHOLE_BYTES
    assert peak_bytes < WHOLE_BYTES / 4


def test_a_folder_for_gguf_has_what_the_converter_reads(
    call: Any, sweep: LedgerWriter, tmp_path: Path
) -> None:
    output = tmp_path / "gguf"
    code, _, complaints = call(
        *("export", "small", "t0004", "--format", "gguf", "--output", str(output)),
        *("--storage", str(sweep.storage)),
    )
    assert (code, complaints) == (0, "")
    config = json.loads((output / "adapter_config.json").read_text())
    # rsLoRA's alpha / sqrt(r) as the alpha / r that llama.cpp computes.
    assert not config["use_rslora"]
    assert math.isclose(config["lora_alpha"] / config["r"], 8 / math.sqrt(RANK))
    assert (output / "adapter_model.safetensors").is_file()
    assert json.loads((output / "base" / "config.json").read_text())["model_type"] == "llama"
    assert (output / "base" / "tokenizer.json").is_file()
    assert not list((output / "base").glob("*.safetensors"))
    assert "it was not run" in (output / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("t0002", "--format", "gguf"), "must be adapter or merged for t0002"),
        (("t0003", "--format", "adapter"), "must be merged for t0003"),
        (
            ("t0005", "--format", "gguf"),
            "must be adapter or merged for t0005-0000000f: llama.cpp's converter takes no adapter "
            "of lm_head, got gguf",
        ),
        (("t0001", "--format", "pickle"), "must be one of adapter, merged, gguf, got pickle"),
        ((), "TRIAL: must be given, or else --task, and not both"),
        (("t0001", "--task", "mean"), "TRIAL: must be given, or else --task, and not both"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    call: Any, sweep: LedgerWriter, tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    output = tmp_path / "out"
    code, _, complaints = call(
        *("export", "small", *arguments, "--output", str(output), "--storage", str(sweep.storage))
    )
    assert code == 2
    assert problem in complaints
    assert not output.exists()


def test_an_export_never_overwrites(call: Any, sweep: LedgerWriter, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    code, _, complaints = call(
        *("export", "small", "t0001", "--output", str(tmp_path / "mine")),
        *("--storage", str(sweep.storage)),
    )
    assert code == 2
    assert complaints == f"--output: must be new, got {tmp_path / 'mine'}, which exists\n"


RELOAD = """
import sys, torch, mlflow, mlflow.transformers
mlflow.set_tracking_uri(sys.argv[1])
loaded = mlflow.transformers.load_model(sys.argv[2], return_type="components")
tokens = loaded["tokenizer"](sys.argv[3], return_tensors="pt").input_ids
with torch.no_grad():
    torch.save(loaded["model"](tokens).logits, sys.argv[4])
"""


@pytest.mark.slow
def test_a_registered_version_computes_the_same_in_a_fresh_process(
    call: Any, sweep: LedgerWriter, tmp_path: Path
) -> None:
    storage = ("--storage", str(sweep.storage))
    code, printed, complaints = call("register", "small", *storage)
    assert code == 0, complaints
    name = sweep.records()[1].trial_id
    uri = "models:/small@best-builtin_choice"
    assert printed == f"{uri}: version 1, {name} (p = 0.5 is better than p = 0)\n"
    code, printed, _ = call("register", "small", "--task", "builtin_choice", *storage)
    assert code == 0
    assert "version 1, which was there already" in printed

    client = MlflowClient(mlflow_uri(sweep.storage))
    [version] = client.search_model_versions("name = 'small'")
    assert version.tags["trial_id"] == name
    assert version.tags["builtin_choice/verdict"] == "p = 0.5 is better than p = 0"
    # The base model is referred to, not stored.
    files = client.list_artifacts(version.run_id, "model")
    assert sum(each.file_size or 0 for each in files) < 2**20

    file = tmp_path / "logits.pt"
    subprocess.run(
        [sys.executable, "-c", RELOAD, mlflow_uri(sweep.storage), uri, PROMPT, str(file)],
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    adapter = sweep.records()[1].adapter
    assert adapter is not None
    # The other process may take its sums with another number of threads.
    torch.testing.assert_close(torch.load(file), logits(adapted(adapter)), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_sweep_whose_folder_was_copied_is_registered_where_it_is_now(
    call: Any, sweep: LedgerWriter, tmp_path: Path
) -> None:
    code, _, complaints = call("sync", "small", "--storage", str(sweep.storage))
    assert code == 0, complaints
    # The next command is another process, which does not remember where the first run's files are.
    _artifact_repos_cache.clear()
    copy = tmp_path / "moved here?" / "results"
    shutil.copytree(sweep.storage, copy)
    first = {path: path.stat().st_mtime_ns for path in sweep.storage.rglob("*") if path.is_file()}
    code, _, complaints = call("register", "small", "--model", "moved", "--storage", str(copy))
    assert code == 0, complaints
    [version] = MlflowClient(mlflow_uri(copy)).search_model_versions("name = 'moved'")
    assert version.source.startswith((copy / "mlartifacts").as_uri())
    assert list((copy / "mlartifacts").rglob("MLmodel"))
    now = {path: path.stat().st_mtime_ns for path in sweep.storage.rglob("*") if path.is_file()}
    assert now == first, "nothing was written into the first folder"
