"""The `data` command counts what training and evaluation read, as can be counted by hand."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from droplora_sweep.evaluation.context import prompt_lengths
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.plan.data_survey import count_repeats, measure_lengths, survey_data
from droplora_sweep.spec import load_sweep_file
from droplora_sweep.spec.loader import load_data_as_sweep
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.task import Example
from droplora_sweep.training.data import read

if TYPE_CHECKING:
    from pathlib import Path


def record(index: int, **changes: Any) -> dict[str, Any]:
    words = " ".join(["word"] * (index % 17))
    made = {"instruction": f"Say {index}. {words}", "output": f"It is {index}.", "answer": "yes"}
    return {**made, **changes}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A space whose files have every fault that leaves examples out."""
    train = [record(index) for index in range(60)]
    train += [
        record(3),
        record(3, instruction="say  3. WORD word word"),
        record(4, output="It is not."),
        record(70, output=" "),
        record(71, output="long " * 200),
        record(72, instruction=5),
    ]
    test = [record(index) for index in (7, 8, 90, 90)]
    for split, records in (("train", train), ("test", test)):
        lines = "\n".join(map(json.dumps, records))
        (tmp_path / f"{split}.jsonl").write_text(lines)
    file = tmp_path / "s.yaml"
    file.write_text(
        f"""\
name: mine
task:
  benchmarks: {{mine: {{data: {tmp_path}, scoring: exact}}}}
  num_train: 40
  num_validation: 10
  on_bad_record: skip
training: {{max_sequence_tokens: 100}}
evaluation: {{max_new_tokens: 8}}
search: {{parameters: {{adapter.pruning_rate: {{values: [0.0, 0.5]}}}}}}
"""
    )
    return file


def test_it_counts_what_training_and_evaluation_leave_out(space: Path) -> None:
    file = load_sweep_file(space)
    found = survey_data(file)
    sweep = file.sweep
    tokenizer = load_tokenizer(sweep.model)
    reading = read(sweep, tokenizer, None)
    [training] = [one for one in found.splits if one.split == "train"]
    reasons = {one.reason: one.number for one in found.left_out}
    assert training.lengths is not None
    assert training.num_examples == len(load_task(sweep.task).benchmarks[0].train) == 40
    over = reasons.get("more than `training.max_sequence_tokens`, 100", 0)
    assert over == reading.data.num_overlong
    assert reasons.get("no response to learn", 0) == reading.data.num_empty
    counted = sum(one.num_response_tokens for one in reading.data.sequences)
    assert training.lengths.num_counted == counted
    lengths = sorted(len(one.tokens) for one in reading.data.sequences)
    if not over:
        assert training.lengths.longest == lengths[-1]
    [validation] = [one for one in found.splits if one.split == "validation"]
    longest = prompt_lengths(reading.task, tokenizer, sweep.evaluation, None).longest
    assert validation.lengths is not None
    assert validation.lengths.longest < longest


def test_every_record_of_the_training_file_is_accounted_for(space: Path) -> None:
    found = survey_data(load_sweep_file(space))
    sizes = {one.split: one.num_examples for one in found.splits}
    assert sizes == {"train": 40, "validation": 10, "test": 4}
    reasons = {(one.name, one.reason): one.number for one in found.left_out}
    shared = reasons["mine", "another split asks the same"]
    beyond = reasons["mine/train", "more than `task.num_train` and `task.train_share` allow"]
    # 66 records, of which two are bad; 7 and 8 are in the test file, each once.
    assert sizes["train"] + sizes["validation"] + shared + beyond == 64
    assert [(one.split, one.other) for one in found.overlaps] == [("mine/train", "mine/test")]
    assert any(": 2 bad records are left out, the first: " in note for note in found.notes)
    [test] = [one for one in found.splits if one.split == "test"]
    assert (test.num_repeated, test.num_contradicting) == (1, 0)


def test_repeats_agree_with_pandas() -> None:
    chosen = random.Random(1)
    examples = [
        Example(
            f"  Q{chosen.randrange(20)}  ?" if i % 2 else f"q{chosen.randrange(20)} ?", "", o, o
        )
        for i in range(200)
        for o in [str(chosen.randrange(2))]
    ]
    frame = pd.DataFrame(
        {
            "q": [" ".join(one.instruction.lower().split()) for one in examples],
            "a": [one.output for one in examples],
        }
    )
    first = frame.groupby("q")["a"].transform("first")
    again = frame.duplicated("q")
    assert count_repeats(examples) == (again.sum(), (again & (frame["a"] != first)).sum())


def test_quantiles_agree_with_their_definition() -> None:
    lengths = [int(one) for one in np.random.default_rng(2).geometric(0.02, 1_000)]
    found = measure_lengths(lengths, 150)
    for share, value in found.quantiles.items():
        assert sum(one <= value for one in lengths) >= share * len(lengths)
        assert sum(one < value for one in lengths) < share * len(lengths)
    assert found.share_over == sum(one > 150 for one in lengths) / len(lengths)
    assert measure_lengths([3], None).quantiles == {0.5: 3, 0.9: 3, 0.99: 3}


def test_the_counted_tokens_are_the_response_and_the_end(space: Path) -> None:
    file = load_sweep_file(space)
    found = survey_data(file, num_shown=3)
    tokenizer = load_tokenizer(file.sweep.model)
    assert [one.name for one in found.examples] == ["mine/train"] * 3
    for example in found.examples:
        [(asked, is_asked), (response, is_response)] = example.pieces
        assert (is_asked, is_response) == (False, True)
        assert asked.endswith("### Response:\n")
        assert response.startswith("It is ")
        assert response.endswith(tokenizer.eos_token)


def test_a_conversation_has_a_loss_on_each_answer(tmp_path: Path) -> None:
    turns = [("user", "1+1?"), ("assistant", "Two."), ("user", "2+2?"), ("assistant", "Four.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    file = tmp_path / "chat.jsonl"
    file.write_text("\n".join(json.dumps({"messages": messages}) for _ in range(3)))
    for loss_on, answers in (("all_turns", ["Two.", "Four."]), ("last_turn", ["Four."])):
        overrides = ["task.prompt=chat", f"task.loss_on={loss_on}"]
        loaded = load_data_as_sweep(str(file), overrides)
        found = survey_data(loaded, only=["chat"])
        [example] = found.examples
        counted = [text for text, is_counted in example.pieces if is_counted]
        assert len(counted) == len(answers)
        assert all(answer in text for answer, text in zip(answers, counted, strict=True))


def shown(call: Any, *arguments: str | Path) -> str:
    code, output, complaints = call("data", *arguments)
    assert (code, complaints) == (0, ""), complaints
    return str(output)


def test_the_command_marks_counted_tokens_without_colour_too(space: Path, call: Any) -> None:
    output = shown(call, space)
    assert "Data of mine" in output
    assert "\u27e6It is " in output
    assert "\u27e7" in output
    assert "mine/validation" in output
    assert "another split asks the same" in output
    assert "not checked" not in output


def test_the_command_as_json(space: Path, call: Any) -> None:
    content = json.loads(shown(call, space, "--json", "--examples", "2"))
    assert {one["split"] for one in content["splits"]} == {"train", "validation", "test"}
    assert len(content["examples"]) == 2
    assert content["overlaps"][0]["exact"] == 2
    joined = "".join(piece["text"] for piece in content["examples"][0]["pieces"])
    assert "### Instruction:" in joined


def test_a_data_file_by_itself(tmp_path: Path, call: Any) -> None:
    file = tmp_path / "my chat.csv"
    frame = pd.DataFrame([{"question": f"{i}?", "reply": f"{i}!"} for i in range(30)])
    frame.to_csv(file, index=False)
    fields = [
        "--set",
        "task.train.fields.instruction=question",
        "--set",
        "task.train.fields.output=reply",
    ]
    content = json.loads(shown(call, file, "--json", *fields))
    assert [(one["name"], one["split"]) for one in content["splits"]] == [("my-chat", "train")]
    assert content["splits"][0]["examples"] == 30
    code, _, complaints = call("data", file)
    assert code == 2
    assert complaints.splitlines()[0].startswith(
        f"{file}: task.train.data: {file}:2: instruction: is missing"
    )


def test_a_faulty_file_ends_in_its_line(space: Path, call: Any) -> None:
    code, output, complaints = call("data", space, "--set", "task.on_bad_record=refuse")
    assert (code, output) == (2, "")
    assert complaints.startswith(f"{space}:3: task.benchmarks.mine.data: ")
    assert "instruction: must be text, got 5" in complaints


def test_no_room_for_a_prompt_is_no_reason_to_show_nothing(space: Path, call: Any) -> None:
    content = json.loads(shown(call, space, "--json", "--set", "evaluation.max_new_tokens=256"))
    limits = {one["split"]: one["tokens"]["limit"] for one in content["splits"]}
    assert limits == {"train": 100, "validation": None, "test": None}
    assert content["not_checked"][0].startswith("evaluation.max_new_tokens: must be less than 256")


def test_without_the_model_sizes_are_shown(
    space: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = ["--set", "model.path=owner/unheard-of", "--set", f"model.revision={'a' * 40}"]
    content = json.loads(shown(call, space, "--json", *model))
    assert [one["examples"] for one in content["splits"]] == [40, 10, 4]
    assert {one["tokens"] for one in content["splits"]} == {None}
    assert content["examples"] == []
    assert "the Hub cannot be reached" in content["not_checked"][0]
