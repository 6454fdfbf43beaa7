"""A search space that the model's layers cannot satisfy is refused before anything starts."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.tokens import prompt_tokens, response_tokens
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.plan.survey import prepare, survey
from droplora_sweep.spec import ModelSpec, TaskSpec, load_sweep_file
from droplora_sweep.tasks.loading import load_task
from tests.evaluation.serving.environment import use_scripted_vllm

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SMALLEST = (
    "must be at most 128, the smallest dimension of a layer with an adapter: "
    "the weight of model.layers.0.mlp.down_proj is 128 x 384, got "
)
LAYERS = "those are down_proj, up_proj, k_proj, q_proj, v_proj"


def refusal(folder: Path, **sections: Any) -> list[str]:
    """Faults of a sweep of the built-in model, whose k q v layers are 128 x 128."""
    file = folder / "s.yaml"
    content = {"name": "q", **sections}
    # What is tested here needs few examples.
    content.setdefault("task", {"num_train": 16})
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        prepare(load_sweep_file(file))
    except InputError as error:
        return [str(fault).removeprefix(f"{folder}/") for fault in error.faults]
    return []


def searching(**parameters: Any) -> dict[str, Any]:
    return {"parameters": {f"adapter.{path}": domain for path, domain in parameters.items()}}


def test_a_rank_above_the_smallest_dimension(tmp_path: Path) -> None:
    assert refusal(tmp_path, adapter={"rank": 200}) == [f"s.yaml:3: adapter.rank: {SMALLEST}200"]


def test_every_rank_of_the_space_counts(tmp_path: Path) -> None:
    assert refusal(tmp_path, search=searching(rank={"values": [8, 129, 256]})) == [
        f"s.yaml:7: search.parameters.adapter.rank.values[1]: {SMALLEST}129",
        f"s.yaml:8: search.parameters.adapter.rank.values[2]: {SMALLEST}256",
    ]
    assert refusal(tmp_path, search=searching(rank={"min": 2, "max": 130})) == [
        f"s.yaml:6: search.parameters.adapter.rank.max: {SMALLEST}130",
    ]


def test_the_largest_possible_rank_is_accepted(tmp_path: Path) -> None:
    assert refusal(tmp_path, search=searching(rank={"min": 1, "max": 128})) == []


def test_full_fine_tuning_has_no_rank_and_no_targets(tmp_path: Path) -> None:
    adapter = {"method": "full", "rank": 200, "target_modules": ["c_attn"]}
    assert refusal(tmp_path, adapter=adapter) == []


def test_a_rank_that_only_full_fine_tuning_has_is_accepted(tmp_path: Path) -> None:
    space = searching(
        method={"values": ["full", "lora"]},
        rank={"values": [4, 8], "when": {"adapter.method": "lora"}},
    )
    assert refusal(tmp_path, adapter={"rank": 200}, search=space) == []


@pytest.mark.parametrize("key", ["o_proj", "qproj", "proj", "layers.9.self_attn.q_proj"])
def test_a_module_rate_that_names_no_layer_with_an_adapter(tmp_path: Path, key: str) -> None:
    problem = f"must be under the name of a layer with an adapter, got '{key}'; {LAYERS}"

    assert refusal(tmp_path, adapter={"module_pruning_rates": {key: 0.5}}) == [
        f"s.yaml:4: adapter.module_pruning_rates.{key}: {problem}"
    ]
    space = searching(**{f"module_pruning_rates.{key}": {"values": [0.5]}})
    assert refusal(tmp_path, search=space) == [
        f"s.yaml:4: search.parameters.adapter.module_pruning_rates.{key}: {problem}"
    ]


@pytest.mark.parametrize("key", ["q_proj", "self_attn.q_proj", "model.layers.3.mlp.down_proj"])
def test_a_module_rate_names_a_layer_as_a_target_does(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, adapter={"module_pruning_rates": {key: 0.5}}) == []


def test_targets_that_match_no_layer(tmp_path: Path) -> None:
    [fault] = refusal(tmp_path, adapter={"target_modules": ["q_proj", "c_attn"]})

    assert fault.startswith(
        "s.yaml:3: adapter.target_modules: must match linear layers of the model, got c_attn, "
        "which match none; it has "
    )


EXPRESSION = r".*\.w[123]"
BAD_CHOICES: dict[str, tuple[dict[str, Any], str]] = {
    "expression_of_nothing": (
        {"adapter": {"target_modules": EXPRESSION}},
        f"s.yaml:3: adapter.target_modules: must match linear layers of the model, got "
        f"{EXPRESSION}, which match none; it has ",
    ),
    "searched_list_of_nothing": (
        {"search": searching(target_modules={"values": ["all-linear", ["q_proj", "c_attn"]]})},
        "s.yaml:7: search.parameters.adapter.target_modules.values[1]: must match linear layers of "
        "the model, got c_attn, which match none; it has ",
    ),
    "layer_beyond_the_last": (
        {"adapter": {"layers": "2-9"}},
        "s.yaml:3: adapter.layers: must be numbers of the model's layers, 0 to 3, got '2-9'",
    ),
    "searched_layer_beyond_the_last": (
        {"search": searching(layers={"values": ["all", [0, 4]]})},
        "s.yaml:7: search.parameters.adapter.layers.values[1]: must be numbers of the model's "
        "layers, 0 to 3, got '0, 4'",
    ),
    "layers_without_a_target": (
        {"adapter": {"target_modules": r".*layers\.0\.mlp.*", "layers": [1]}},
        "s.yaml:4: adapter.layers: must leave layers that match `adapter.target_modules`, got '1' "
        "for '.*layers",
    ),
    "rank_of_no_target": (
        {"adapter": {"module_ranks": {"o_proj": 4}}},
        "s.yaml:4: adapter.module_ranks.o_proj: must be under the name of a layer with an adapter, "
        f"got 'o_proj'; {LAYERS}",
    ),
    "alpha_of_no_target": (
        {"adapter": {"module_alphas": {"o_proj": 4.0}}},
        "s.yaml:4: adapter.module_alphas.o_proj: must be under the name of a layer with an "
        f"adapter, got 'o_proj'; {LAYERS}",
    ),
    "rank_above_a_modules": (
        {"adapter": {"module_ranks": {"q_proj": 129}}},
        "s.yaml:4: adapter.module_ranks.q_proj: must be at most 128, the smallest dimension of a "
        "layer with an adapter: the weight of model.layers.0.self_attn.q_proj is 128 x 128, got "
        "129",
    ),
}


@pytest.mark.parametrize("name", BAD_CHOICES)
def test_a_choice_of_layers_that_the_model_has_not(tmp_path: Path, name: str) -> None:
    sections, expected = BAD_CHOICES[name]
    [fault] = refusal(tmp_path, **sections)
    assert fault.startswith(expected)


@pytest.mark.parametrize(
    "adapter",
    [
        {"target_modules": "all-linear", "layers": "1-2"},
        {"target_modules": r".*\.(q|v)_proj", "module_ranks": {"layers.3.self_attn.q_proj": 4}},
    ],
    ids=str,
)
def test_a_choice_of_layers_that_the_model_has(tmp_path: Path, adapter: dict[str, Any]) -> None:
    assert refusal(tmp_path, adapter={"rank": 4, **adapter}) == []


def test_a_lora_drop_trial_that_is_too_short(tmp_path: Path) -> None:
    short = {"num_train": 4, "benchmarks": ["builtin_choice"]}
    training = {"epochs": 2, "global_batch_size": 8}
    space = searching(method={"values": ["lora", "lora_drop"]})
    assert refusal(tmp_path, task=short, training=training, search=space) == [
        "s.yaml:7: training.epochs: must give at least 3 optimiser steps with `method: lora_drop`, "
        "which samples before it drops layers, got 2, which with `global_batch_size: 8` gives 2"
    ]
    assert refusal(tmp_path, task=short, training=training) == []


def test_a_held_out_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("short")
    for name, problem in {
        "none.txt": "must be a readable text file, got {}: No such file or directory",
        "short.txt": "must hold at least 1,000 characters, got 5: {}",
    }.items():
        path = str(tmp_path / name)
        found = refusal(tmp_path, evaluation={"held_out_text": path})
        assert found == [f"s.yaml:3: evaluation.held_out_text: {problem.format(path)}"]


def test_a_held_out_text_is_data_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("word " * 300)
    file = tmp_path / "s.yaml"
    task = {"benchmarks": ["builtin_math"], "num_train": 8, "num_validation": 4, "num_test": 4}
    sections = {"task": task, "evaluation": {"held_out_text": "text.txt"}}
    file.write_text(yaml.safe_dump({"name": "q", **sections}))
    monkeypatch.chdir(tmp_path)
    prepared = prepare(load_sweep_file(file))

    assert prepared.sweep.evaluation.held_out_text == str(tmp_path / "text.txt")
    names = ["builtin_math/test", "builtin_math/train", "builtin_math/validation", "held_out_text"]
    assert sorted(prepared.data_digests()) == names
    before = prepared.data_digests()
    (tmp_path / "text.txt").write_text("other " * 300)
    after = prepare(load_sweep_file(file)).data_digests()
    assert {name for name in names if before[name] != after[name]} == {"held_out_text"}


def test_responses_that_leave_no_room_for_a_prompt(tmp_path: Path) -> None:
    records = [{"instruction": f"{index}?", "answer": "a"} for index in range(3)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, records)))
    fields = {"instruction": "instruction", "answer": "answer"}
    mine = {"data": str(tmp_path / "x.jsonl"), "scoring": "exact", "fields": fields}
    task = {"benchmarks": {"mine": mine}, "num_validation": 1}
    [fault] = refusal(tmp_path, task=task, evaluation={"max_new_tokens": 256})
    assert fault.endswith(
        "evaluation.max_new_tokens: must be less than 256, the model's context, of which a prompt "
        "needs some, got 256 for mine"
    )


def test_vllm_for_what_it_cannot_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vllm = {"backend": "vllm"}
    where = "s.yaml:3: evaluation.backend: must be transformers or auto, got vllm: "
    monkeypatch.setenv("DROPLORA_VLLM", str(tmp_path / "none"))
    [fault] = refusal(tmp_path, evaluation=vllm)
    assert fault.startswith(f"{where}there is no vLLM in DROPLORA_VLLM={tmp_path / 'none'}")
    assert refusal(tmp_path, evaluation={"backend": "auto"}) == []
    use_scripted_vllm(monkeypatch, tmp_path)
    assert refusal(tmp_path, evaluation=vllm) == []
    [remark] = survey(load_sweep_file(tmp_path / "s.yaml")).unchecked
    assert remark == (
        "evaluation.backend: vLLM was looked for on this machine; those of workers need it too"
    )
    methods = {"adapter.method": {"values": ["lora", "dora"]}}
    search = {"num_trials": 2, "parameters": methods}
    [fault] = refusal(tmp_path, evaluation=vllm, search=search)
    assert fault == f"{where}vLLM loads no adapter of method dora, with DoRA's magnitudes"


class Without:
    """A finder of modules that does not see one of them."""

    def __init__(self, finder: Any, name: str) -> None:
        self._finder, self._name = finder, name

    def find_spec(self, name: str, *arguments: Any) -> Any:
        return None if name == self._name else self._finder.find_spec(name, *arguments)


def test_quantisation_without_bitsandbytes(tmp_path: Path, monkeypatch) -> None:
    finders = [Without(finder, "bitsandbytes") for finder in sys.meta_path]
    monkeypatch.setattr(sys, "meta_path", finders)
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    assert refusal(tmp_path, model={"quantization": "4bit"}) == [
        "s.yaml:3: model.quantization: must be none where bitsandbytes is not installed, got 4bit: "
        "pip install 'droplora-sweep[quantization]'"
    ]
    assert refusal(tmp_path, training={"optimizer": "adamw_8bit"}) == [
        "s.yaml:3: training.optimizer: must be adamw where bitsandbytes is not installed, got "
        "adamw_8bit: pip install 'droplora-sweep[quantization]'"
    ]


def questions(folder: Path) -> dict[str, Any]:
    """A task with a benchmark of one question that a judge rates."""
    (folder / "mt_bench").mkdir(exist_ok=True)
    question = {"question_id": 1, "category": "writing", "turns": ["Name a colour.", "Another."]}
    (folder / "mt_bench" / "question.jsonl").write_text(json.dumps(question) + "\n")
    own = {"data": str(folder / "mt_bench")}
    return {"benchmarks": {"builtin_choice": None, "mt_bench": own}}


def test_a_judged_benchmark_needs_a_judge(tmp_path: Path) -> None:
    short = {"max_new_tokens": 64}
    assert refusal(tmp_path, evaluation=short, task=questions(tmp_path)) == [
        "s.yaml:2: evaluation.judge: must be given for mt_bench, which a judge rates, got null"
    ]
    judge = {"url": "http://127.0.0.1:9/v1", "model": "m", "prompts": str(tmp_path / "p.jsonl")}
    sections = {"task": questions(tmp_path), "evaluation": {**short, "judge": judge}}
    [fault] = refusal(tmp_path, **sections)
    assert fault.endswith(
        f"evaluation.judge: {tmp_path}/p.jsonl: cannot be read: No such file or directory"
    )
    assert fault.startswith("s.yaml:")


def test_samples_without_code_are_refused(tmp_path: Path) -> None:
    sections = {"task": {"benchmarks": ["builtin_choice"]}, "evaluation": {"sampling": {}}}
    assert refusal(tmp_path, **sections) == [
        "s.yaml:6: evaluation.sampling: must be null where no benchmark is scored by running "
        "code, got 10 samples"
    ]
    sections["task"]["benchmarks"].append("builtin_code")
    assert refusal(tmp_path, **sections) == []


SHORT = {"benchmarks": ["builtin_choice"], "num_train": 16}


def test_a_limit_that_leaves_no_training_example(tmp_path: Path) -> None:
    [fault] = refusal(tmp_path, task=SHORT, training={"max_sequence_tokens": 8})
    assert re.fullmatch(
        r"s\.yaml:7: training\.max_sequence_tokens: must leave some of 16 training examples, the "
        r"shortest of which has \d+ tokens, got 8",
        fault,
    )


def test_the_shortest_example_is_as_long_as_a_trial_counts_it(tmp_path: Path) -> None:
    task = load_task(TaskSpec.model_validate(SHORT))
    pairs = [
        (source.render_prompt(example), example.output)
        for source, example in task.training_examples()
    ]
    tokenizer = load_tokenizer(ModelSpec())
    prompts = prompt_tokens(tokenizer, [prompt for prompt, _ in pairs])
    responses = response_tokens(tokenizer, pairs, prompts)
    shortest = min(len(one) + len(two) + 1 for one, two in zip(prompts, responses, strict=True))
    assert refusal(tmp_path, task=SHORT, training={"max_sequence_tokens": shortest}) == []
    [fault] = refusal(tmp_path, task=SHORT, training={"max_sequence_tokens": shortest - 1})
    assert fault.endswith(f"has {shortest} tokens, got {shortest - 1}")


def test_every_searched_limit_counts(tmp_path: Path) -> None:
    limits = {"training.max_sequence_tokens": {"values": [4, 256, 8]}}
    faults = refusal(tmp_path, task=SHORT, search={"parameters": limits})
    assert [fault.partition(": must")[0] for fault in faults] == [
        "s.yaml:10: search.parameters.training.max_sequence_tokens.values[0]",
        "s.yaml:12: search.parameters.training.max_sequence_tokens.values[2]",
    ]
