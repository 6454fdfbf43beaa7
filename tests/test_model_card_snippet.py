"""The model card of a real export, followed to the letter: its snippet answers as was scored."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from droplora_sweep.export.scoring import AdapterScorer
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.spec import ModelSpec
from droplora_sweep.tasks.loading import load_task
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.evaluation.results import ExampleResult

BENCHMARKS = ["builtin_choice", "builtin_math", "builtin_code"]
NUM_EXAMPLES = 4


@pytest.fixture(scope="module", params=[{}, {"prompt": "chat"}], ids=["text", "chat"])
def sweep(
    request: pytest.FixtureRequest,
    small_sweep: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> LedgerWriter:
    """One trial, whose adapter changes the model a little: its factors are small and random."""
    folder = tmp_path_factory.mktemp("card")
    spec = small_sweep(
        adapter={"rank": 4, "alpha": 4, "target_modules": ["q_proj", "down_proj"]},
        task={
            "benchmarks": BENCHMARKS,
            "num_train": 16,
            "num_validation": NUM_EXAMPLES,
            **request.param,
        },
        evaluation={"max_new_tokens": 24, "allow_unsandboxed_code": True},
    )
    torch.manual_seed(0)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=4, target_modules=["q_proj", "down_proj"]
    )
    model = get_peft_model(load_base_model(ModelSpec()), lora)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(folder / "adapter")
    files = {path.name: path.read_bytes() for path in (folder / "adapter").iterdir()}
    ledger = LedgerWriter.create(folder / "results", spec)
    fingerprint = "00000001" + "0" * 56
    name = trial_id(0, fingerprint)
    ledger.trial_started(planned(name, 0, fingerprint, spec.trial, {}))
    metrics = {"val/mean": 0.5, **{f"val/{each}": 0.5 for each in BENCHMARKS}}
    ledger.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
    ledger.trial_finished(
        name, TrialState.COMPLETE, adapter_files={**files, "droplora.json": b"{}\n"}
    )
    ledger.close()
    return ledger


@pytest.fixture(scope="module")
def scored(sweep: LedgerWriter) -> list[ExampleResult]:
    """The adapter's answers in our evaluation."""
    [trial] = sweep.records()
    scorer = AdapterScorer(sweep_trial(sweep), on_gpu=False)
    return scorer(trial.adapter)


def sweep_trial(sweep: LedgerWriter) -> Any:
    from droplora_sweep.spec import TrialSpec

    [trial] = sweep.records()
    return TrialSpec.model_validate(dict(trial.spec))


ASKS = """
import json
with open("questions.json") as file:
    questions = json.load(file)
print(json.dumps([answer(instruction, context, task) for task, instruction, context in questions]))
"""


def answers_of(folder: Path, questions: list[tuple[str, str, str]], cwd: Path) -> list[str]:
    """Follow the card: run its snippet in a fresh process, and ask it more."""
    card = (folder / "README.md").read_text()
    snippet = card.partition("```python\n")[2].partition("```")[0]
    assert snippet.count("path/of/this/folder") == 1
    program = snippet.replace("path/of/this/folder", str(folder)) + ASKS
    (cwd / "questions.json").write_text(json.dumps(questions))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    *own, asked = done.stdout.splitlines()
    assert own, "the snippet prints an answer of its own"
    return json.loads(asked)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_the_snippet_of_an_export_answers_as_our_evaluation_scored(
    call: Any, sweep: LedgerWriter, scored: list[ExampleResult], tmp_path: Path, form: str
) -> None:
    output = tmp_path / "export"
    code, _, complaints = call(
        *("export", "small", "t0000", "--format", form, "--output", str(output)),
        *("--storage", str(sweep.storage)),
    )
    assert (code, complaints) == (0, "")
    task = load_task(sweep_trial(sweep).task)
    questions = [
        (benchmark.name, example.instruction, example.input)
        for benchmark in task.benchmarks
        for example in benchmark.validation
    ]
    answers = answers_of(output, questions, tmp_path)
    assert len(answers) == len(scored) == 3 * NUM_EXAMPLES
    assert len({*answers}) > 3, "answers differ"
    for answer, result in zip(answers, scored, strict=True):
        assert result.response, "something was said"
        # Our evaluation ends a response as soon as the rest cannot change how it is read.
        assert answer.startswith(result.response)
