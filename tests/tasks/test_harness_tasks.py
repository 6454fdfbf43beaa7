"""Tasks of lm-evaluation-harness as benchmarks: a local task of one's own, without a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.harness import place_of
from droplora_sweep.tasks.task import split_sizes

from .conftest import load, refusal

if TYPE_CHECKING:
    from pathlib import Path

CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Delhi", "Seoul")
TASK = {
    "task": "capitals",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "label",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
}


def write_task(folder: Path, sizes: dict[str, int], **changes: Any) -> str:
    """Write a task and its data, which it names relative to its folder; its path."""
    files = {}
    number = 0
    for split, size in sizes.items():
        lines = []
        for _ in range(size):
            options = [CITIES[(number + step) % len(CITIES)] for step in range(3)]
            document = {
                "question": f"Which city has number {number}?",
                "choices": options,
                "label": number % 3,
            }
            lines.append(json.dumps(document) + "\n")
            number += 1
        (folder / f"{split}.jsonl").write_text("".join(lines))
        files[split] = f"{split}.jsonl"
    names = {"train": "training_split", "validation": "validation_split", "test": "test_split"}
    config = {
        **TASK,
        "dataset_kwargs": {"data_files": files},
        **{names[split]: split for split in sizes},
        **changes,
    }
    path = folder / "capitals.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return str(path)


def test_a_task_brings_its_splits_and_prompts(tmp_path: Path) -> None:
    path = write_task(tmp_path, {"train": 12, "validation": 6, "test": 5})
    task = load(benchmarks={"capitals": f"lm_eval:{path}"}, num_confirmation=3)
    assert split_sizes(task)["capitals"] == {
        "train": 12,
        "validation": 2,
        "confirmation": 3,
        "test": 5,
        "left_out": 0,
    }
    [benchmark] = task.benchmarks
    for example in benchmark.train:
        kind, index = place_of(example.id)
        document = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[index])
        assert kind == "training"
        assert benchmark.render_prompt(example) == f"Question: {document['question']}\nAnswer:"
        assert example.output == f" {document['choices'][document['label']]}"
    assert {place_of(one.id)[0] for one in benchmark.validation} == {"validation"}
    assert "capitals/scoring" in task.digests


def test_a_list_of_names_has_tasks_too(tmp_path: Path) -> None:
    path = write_task(tmp_path, {"train": 12, "validation": 6})
    task = load(benchmarks=["builtin_math", f"lm_eval:{path}"], num_train=4)
    assert [one.name for one in task.benchmarks] == ["builtin_math", "lm_eval.capitals"]
    spec = TaskSpec.model_validate({"benchmarks": [f"lm_eval:{path}"]})
    assert TaskSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_few_shot_prompts_hold_others_alone(tmp_path: Path) -> None:
    path = write_task(tmp_path, {"train": 8, "test": 3})
    options = {"lm_eval": path, "num_fewshot": 3}
    task = load(benchmarks={"capitals": options}, num_validation=6)
    [benchmark] = task.benchmarks
    assert split_sizes(task)["capitals"]["train"] == 2
    for example in benchmark.validation:
        *_, question = example.instruction.split("\n\n")
        assert example.instruction.count("Question:") in (1, 4)
        assert example.instruction.count(question) == 1
    again = load(benchmarks={"capitals": options}, num_validation=6)
    assert again.digests == task.digests
    other = load(benchmarks={"capitals": {**options, "num_fewshot": 2}}, num_validation=6)
    assert other.digests["capitals/scoring"] != task.digests["capitals/scoring"]


def test_the_first_documents_alone(tmp_path: Path) -> None:
    path = write_task(tmp_path, {"train": 12, "validation": 6, "test": 5})
    task = load(benchmarks={"capitals": {"lm_eval": path, "limit": 4}})
    sizes = split_sizes(task)["capitals"]
    assert (sizes["train"], sizes["validation"], sizes["test"]) == (4, 2, 4)


def test_documents_that_are_for_testing_alone_may_validate(tmp_path: Path) -> None:
    path = write_task(tmp_path, {"test": 9})
    mixture = tmp_path / "mix.jsonl"
    mixture.write_text('{"instruction": "a", "output": "b"}\n')
    train = {"name": "mix", "data": str(mixture)}
    assert refusal(benchmarks={"capitals": f"lm_eval:{path}"}, train=train) == [
        "task.benchmarks: must have validation examples in one at least, got none in capitals"
    ]
    own = {"lm_eval": path, "split": "validation"}
    task = load(benchmarks={"capitals": own}, train=train)
    sizes = split_sizes(task)["capitals"]
    assert (sizes["validation"], sizes["test"]) == (2, 0)


SIZES = {"train": 6, "validation": 6}
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{question}}",
    "doc_to_choice": None,
    "metric_list": [{"metric": "word_perplexity"}],
}


@pytest.mark.parametrize(
    ("changes", "options", "problem"),
    [
        (
            {},
            {"metric": "accuracy"},
            "metric must be one of acc, acc_norm, numbers in [0, 1] for each example, more being "
            "better, got 'accuracy'",
        ),
        (
            ROLLING,
            {},
            "must be a task with a metric that is a number in [0, 1] for each example, more being "
            "better, got capitals.yaml with word_perplexity",
        ),
        (
            {"metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": False}]},
            {},
            "must be a task with a metric that is a number in [0, 1] for each example, more being "
            "better, got capitals.yaml with acc",
        ),
        (
            {"num_fewshot": 0},
            {"num_fewshot": 2},
            "num_fewshot must be left out for capitals.yaml, whose own file sets it to 0, got 2",
        ),
        (
            {"dataset_kwargs": {"data_files": {"train": "no.jsonl"}}},
            {},
            "must be a task that lm_eval can load, got capitals.yaml: FileNotFoundError: ",
        ),
        (
            {"output_type": "guess"},
            {},
            "must be a task that lm_eval can load, got capitals.yaml: ",
        ),
        ({"unsafe_code": True}, {}, "must be a task of text alone, got capitals.yaml, which runs"),
    ],
)
def test_what_is_no_benchmark_is_one_line(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], problem: str
) -> None:
    path = write_task(tmp_path, SIZES, **changes)
    [line] = refusal(benchmarks={"capitals": {"lm_eval": path, **options}})
    line = line.replace(f"{tmp_path}/", "")
    assert line.startswith(f"task.benchmarks.capitals.lm_eval: {problem}")


def test_a_chat_template_is_not_the_librarys_prompt(tmp_path: Path) -> None:
    path = write_task(tmp_path, SIZES)
    [line] = refusal(benchmarks={"capitals": f"lm_eval:{path}"}, prompt="chat")
    assert line == (
        "task.prompt: must be left out for capitals, a task of lm_eval with prompts of its own, "
        "got chat"
    )


def test_a_file_that_is_not_there() -> None:
    [line] = refusal(benchmarks={"capitals": "lm_eval:no/capitals.yaml"})
    assert line == (
        "task.benchmarks.capitals.lm_eval: must be an existing file, got no/capitals.yaml"
    )


def test_a_group_is_named_task_by_task(tmp_path: Path) -> None:
    group = {"group": "all_capitals", "task": ["one", "two"]}
    (tmp_path / "group.yaml").write_text(yaml.safe_dump(group))
    [line] = refusal(benchmarks={"capitals": f"lm_eval:{tmp_path}/group.yaml"})
    assert line == (
        f"task.benchmarks.capitals.lm_eval: must be one task, got the group "
        f"{tmp_path}/group.yaml; name those of its tasks that are meant"
    )


@pytest.mark.slow
def test_a_name_that_the_library_does_not_have() -> None:
    [line] = refusal(benchmarks={"h": "lm_eval:helaswag"})
    assert line.startswith(
        "task.benchmarks.h.lm_eval: must be a task of lm_eval or a YAML file, got 'helaswag'; did "
        "you mean hellaswag"
    )
    for name in ("mmlu", "ai2_arc"):
        [line] = refusal(benchmarks={"h": f"lm_eval:{name}"})
        assert line == (
            f"task.benchmarks.h.lm_eval: must be one task, got the group {name}; name those of its "
            "tasks that are meant"
        )
