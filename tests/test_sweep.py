"""One real sweep: what it prints, what ledger and MLflow hold, what plain PEFT makes of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.cli import main
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState

if TYPE_CHECKING:
    from droplora_sweep.records.trial import TrialRecord

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[1]
NUM_TRIALS = 4
SETTINGS = [
    *("--set", "task.benchmarks=[builtin_choice, builtin_math, builtin_code]"),
    *("--set", "evaluation.allow_unsandboxed_code=true"),
    *("--set", "training.global_batch_size=16"),
    *("--set", f"search.num_trials={NUM_TRIALS}"),
    *("--set", "task.num_train=48"),
    *("--set", "task.num_validation=8"),
    *("--set", "evaluation.num_evaluations=2"),
    *("--set", "training.epochs=1"),
    *("--set", "confirm=null"),
]

SCORE_WITH_PLAIN_PEFT = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).eval()
tokenizer = AutoTokenizer.from_pretrained(base)
responses = []
for prompt, max_new_tokens in json.load(sys.stdin):
    tokens = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    output = model.generate(
        tokens["input_ids"], max_new_tokens=max_new_tokens, do_sample=False,
        pad_token_id=tokenizer.eos_token_id,
    )
    responses.append(tokenizer.decode(output[0, tokens["input_ids"].shape[1]:],
                                      skip_special_tokens=True))
assert "droplora_sweep" not in sys.modules
json.dump(responses, sys.stdout)
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def printed(storage: Path) -> str:
    """Output of the sweep, run as a user runs it."""
    command = [sys.executable, "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"]
    where = ["--set", f"storage={storage}", "--address", "local"]
    done = subprocess.run(
        [*command, *SETTINGS, *where], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def ledger(printed: str, storage: Path) -> Ledger:
    return Ledger.open(storage, "quickstart")


@pytest.fixture(scope="module")
def best(ledger: Ledger) -> TrialRecord:
    complete = [trial for trial in ledger.records() if trial.state is TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.metrics["val/mean"])


@pytest.fixture(scope="module")
def runs(ledger: Ledger, storage: Path) -> list[Any]:
    """Every run of the sweep's MLflow store."""
    from mlflow import MlflowClient

    from droplora_sweep.mlflow_view.ui import mlflow_uri

    client = MlflowClient(mlflow_uri(storage))
    experiments = [each.experiment_id for each in client.search_experiments()]
    return client.search_runs(experiments)


def test_it_prints_one_line_per_event_then_the_answer_at_a_glance_and_the_uis_command(
    printed: str,
) -> None:
    lines = printed.splitlines()
    for number in range(NUM_TRIALS):
        own = [line for line in lines if line.startswith(f"t{number:04d}-")]
        assert "started" in own[0]
        assert "complete" in own[-1] or "stopped" in own[-1]
    assert "untrained model, validation examples: builtin_choice " in printed
    [title] = [index for index, line in enumerate(lines) if line.strip() == "What to use"]
    cells = [line.split("│") for line in lines[title:] if line.startswith("│")]
    answered = [row for row in cells if row[1].strip()]
    assert [row[1].strip() for row in answered] == [
        *("mean", "builtin_choice", "builtin_math", "builtin_code"),
    ]
    # On eight examples and after an epoch there may be nothing to decide.
    assert {row[4].strip() for row in answered} <= {"? a hint", "∅ nothing to decide"}
    assert sum(line.startswith("next: droplora-sweep ") for line in lines) == 1
    assert "Exploratory:" not in printed, "the reasons are in the report"
    ui, *views = lines[-3:]
    assert ui.startswith("MLflow UI: droplora-sweep ui --storage ")
    assert [line.partition(": http://127.0.0.1:5000/#/experiments/")[0] for line in views] == [
        *("  trials", "  charts"),
    ]
    [page] = [line.removeprefix("report: ") for line in lines if line.startswith("report: ")]
    assert "· complete ·" in (ROOT / page).read_text()


def test_the_papers_setting_and_no_pruning_come_first(ledger: Ledger) -> None:
    first, second = ledger.records()[:2]
    assert first.params["adapter.pruning_rate"] == 0.4, "the nearest to 0.5"
    assert second.params == {**first.params, "adapter.pruning_rate": 0}
    assert {first.state, second.state} == {TrialState.COMPLETE}, "baselines are never stopped"


def test_every_trial_ends_with_a_verified_adapter_and_its_results(ledger: Ledger) -> None:
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    assert len(ledger.records()) == NUM_TRIALS
    for trial in ledger.records():
        assert trial.state in {TrialState.COMPLETE, TrialState.STOPPED}
        assert trial.adapter is not None
        verify_adapter(trial.adapter, trial.adapter_digest)
        correct = ledger.scores(trial.trial_id)
        assert correct is not None
        scores = [sum(each.values()) / len(each) for each in correct.values()]
        assert sum(scores) / len(scores) == pytest.approx(trial.metrics["val/mean"])


def test_the_study_knows_which_trials_were_pruned(ledger: Ledger) -> None:
    states = {TrialState.COMPLETE: "COMPLETE", TrialState.STOPPED: "PRUNED"}
    told = {trial.number: trial.state.name for trial in ledger.study.trials}
    assert told == {trial.number: states[trial.state] for trial in ledger.records()}


def test_the_untrained_model_was_scored_once(ledger: Ledger, runs: list[Any]) -> None:
    [reference] = ledger.record.references.values()
    assert reference.split == "validation"
    assert set(reference.untrained) == {"builtin_choice", "builtin_math", "builtin_code"}
    assert set(reference.chance) == {"builtin_choice"}
    scores = ledger.untrained_scores("validation")
    first = ledger.scores(ledger.records()[0].trial_id)
    assert scores is not None
    assert first is not None
    for name, examples in scores.items():
        assert examples.keys() == first[name].keys(), "the examples of the trials"
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    for name, score in reference.untrained.items():
        assert parent.data.metrics[f"untrained/val/{name}"] == score


def test_mlflow_holds_one_parent_and_all_children_in_final_states(
    runs: list[Any], ledger: Ledger
) -> None:
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert len(children) == NUM_TRIALS
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    states = {TrialState.COMPLETE: "FINISHED", TrialState.STOPPED: "KILLED"}
    assert parents[0].info.status == "FINISHED"
    assert sorted(run.info.status for run in children) == sorted(
        states[trial.state] for trial in ledger.records()
    )


def test_mlflow_has_numeric_params_and_a_metric_per_benchmark(runs: list[Any]) -> None:
    for run in runs:
        if "mlflow.parentRunId" in run.data.tags:
            for name in ("rank", "alpha", "pruning_rate", "learning_rate", "seed"):
                float(run.data.params[name])
            assert {"val/mean", "val/builtin_choice", "train/loss"} <= run.data.metrics.keys()


@pytest.mark.slow
def test_plain_peft_reproduces_the_best_trials_validation_score(
    best: TrialRecord, ledger: Ledger
) -> None:
    from droplora_sweep.models.resolving import BUILTIN_FOLDER
    from droplora_sweep.spec import TaskSpec
    from droplora_sweep.tasks.loading import load_task
    from droplora_sweep.tasks.task import render_prompt

    task = load_task(TaskSpec.model_validate(best.spec["task"]))
    questions = [
        (render_prompt(example, benchmark.prompt_suffix), benchmark.max_new_tokens)
        for benchmark in task.benchmarks
        for example in benchmark.validation
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCORE_WITH_PLAIN_PEFT, str(BUILTIN_FOLDER), str(best.adapter)],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    responses = iter(json.loads(done.stdout))
    for benchmark in task.benchmarks:
        golds = [example.answer for example in benchmark.validation]
        own = [next(responses) for _ in golds]
        answers = benchmark.scorer.read_all(own, golds, allow_unsandboxed_code=True)
        score = sum(answer.correct for answer in answers) / len(golds)
        assert score == pytest.approx(best.metrics[f"val/{benchmark.name}"])


def test_status_and_best_read_the_ledger_alone(
    printed: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "best"):
        with pytest.raises(SystemExit) as end:
            main([command, "quickstart", "--storage", str(storage)])
        assert end.value.code == 0
    output = capsys.readouterr().out
    assert "quickstart: complete" in output
    assert re.search(r"^mean: (best is p = |nothing to decide: )", output, re.MULTILINE)
    assert "Best score of each pruning rate" in output
    assert re.search(r"untrained model +\S", output)
    assert "Exploratory: search-stage trials with one seed each" in output


@pytest.mark.parametrize("command", ["run", "resume"])
def test_a_finished_sweep_has_nothing_left_to_do(
    printed: str, storage: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    file = str(ROOT / "search_spaces/quickstart.yaml")
    words = {
        "run": ["run", file, *SETTINGS, "--set", f"storage={storage}"],
        "resume": ["resume", "quickstart", "--storage", str(storage)],
    }
    with pytest.raises(SystemExit) as end:
        main([*words[command], "--address", "local"])
    assert end.value.code == 0
    assert "quickstart: finished, 4 trials; nothing to do" in capfd.readouterr().out


def test_a_changed_file_is_refused_with_the_difference(
    printed: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(ROOT / "search_spaces/quickstart.yaml")
    where = ["--set", f"storage={storage}", "--address", "local"]
    with pytest.raises(SystemExit) as end:
        main(["run", file, *SETTINGS, "--set", "adapter.dropout=0.1", *where])
    assert end.value.code == 2
    complaint = capsys.readouterr().err
    assert "--set adapter.dropout=0.1: adapter.dropout: was 0.0, now 0.1\n" in complaint
    assert "start a new sweep from its results with --fork NEWNAME" in complaint


def test_only_a_running_sweep_can_be_stopped(
    printed: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["stop", "quickstart", "--storage", str(storage)])
    assert end.value.code == 1
    assert "must be a running sweep, got quickstart, which has no driver" in capsys.readouterr().err
