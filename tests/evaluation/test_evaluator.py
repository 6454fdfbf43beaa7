"""Results are transformers' greedy ones, whatever the batch, the rank and the wrapper."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.generation import TransformersGenerator
from droplora_sweep.scorers.scorer import StopRule
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.task import render_prompt

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.tasks.task import Task

MAX_NEW_TOKENS = 10


@pytest.fixture(scope="module")
def task() -> Task:
    """Prompts of many lengths; the benchmarks' own limits differ."""
    return load_task(TaskSpec(num_train=1, num_validation=5, num_test=2))


def run(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, task: Task, **options: Any
) -> list[ExampleResult]:
    """Evaluates; what is no field of ``EvaluationSpec`` is an option of ``evaluate``."""
    own = set(EvaluationSpec.model_fields) - {"split"}
    fields = {name: options.pop(name) for name in set(options) & own}
    spec = EvaluationSpec(
        **{
            "batch_size": 3,
            "max_new_tokens": MAX_NEW_TOKENS,
            "allow_unsandboxed_code": True,
            **fields,
        }
    )
    return evaluate(model, tokenizer, task, spec, **options)


def test_every_example_once_in_the_order_of_the_task(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    results = run(model, tokenizer, task)
    expected = [
        (benchmark.name, example.digest, example.answer)
        for benchmark in task.benchmarks
        for example in benchmark.validation
    ]
    assert [(one.benchmark, one.example_id, one.gold) for one in results] == expected


def test_responses_are_those_of_plain_greedy_decoding_one_by_one(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    """The reference is the definition: argmax of a full forward pass, without cache or padding."""
    results = iter(run(model, tokenizer, task))
    for benchmark in task.benchmarks:
        for example in benchmark.validation[:3]:
            result = next(one for one in results if one.example_id == example.digest)
            tokens = tokenizer(render_prompt(example, benchmark.prompt_suffix))["input_ids"]
            response: list[int] = []
            for _ in range(min(MAX_NEW_TOKENS, benchmark.max_new_tokens or MAX_NEW_TOKENS)):
                with torch.no_grad():
                    logits = model(torch.tensor([tokens + response])).logits
                response.append(int(logits[0, -1].argmax()))
                if response[-1] == tokenizer.eos_token_id:
                    break
            assert result.response == tokenizer.decode(response, skip_special_tokens=True)
            assert result.num_tokens == len(response)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_results_do_not_depend_on_the_batch_size(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task, batch_size: int
) -> None:
    results = run(model, tokenizer, task, batch_size=batch_size)
    assert results == run(model, tokenizer, task)
    # The comparison means something: responses differ, and they end for different reasons.
    assert len({one.response for one in results}) > 5
    assert len({one.num_tokens for one in results}) > 1


@pytest.mark.parametrize("max_batch_tokens", [1, 400, 3000])
def test_results_do_not_depend_on_the_token_budget(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task, max_batch_tokens: int
) -> None:
    results = run(model, tokenizer, task, max_batch_tokens=max_batch_tokens)
    assert results == run(model, tokenizer, task)


def test_the_static_cache_gives_the_same(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    assert run(model, tokenizer, task, static_cache=True) == run(model, tokenizer, task)


class Scripted:
    """Decodes the same texts over and over: a generator needs no model of its own."""

    note = None

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokens = [tokenizer("the correct answer is answer1, not")["input_ids"], [0]]

    def generate(self, prompts: list[list[int]], **_: Any) -> list[list[int]]:
        return [self._tokens[index % 2] for index in range(len(prompts))]


def test_results_name_the_protocol_they_were_read_by(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    by_protocol: dict[str, set[str | None]] = {"paper": {"answer1", None}, "strict": {None}}
    for protocol, predictions in by_protocol.items():
        results = run(model, tokenizer, task, protocol=protocol, generator=Scripted(tokenizer))
        assert {one.protocol for one in results} == {protocol}
        choices = [one for one in results if one.benchmark == "builtin_choice"]
        assert {one.prediction for one in choices} == predictions


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_response_ends_when_it_is_complete(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, batch_size: int
) -> None:
    prompts = [tokenizer(f"Prompt {index} " * index)["input_ids"] for index in range(1, 9)]
    eos_ids = frozenset({tokenizer.eos_token_id})
    generator = TransformersGenerator(model, tokenizer, eos_ids, batch_size)
    whole = generator.generate(prompts, max_new_tokens=12)
    letters = tuple(string.ascii_letters + string.digits)
    stop = StopRule(lambda text: any(letter in text for letter in letters), endings=letters)
    expected = []
    for tokens in whole:
        length = next(
            (
                end
                for end in range(1, len(tokens))
                if stop.is_complete(decoded(tokenizer, tokens[:end]))
            ),
            len(tokens),
        )
        expected.append(tokens[:length])
    assert generator.generate(prompts, max_new_tokens=12, stop=stop) == expected
    assert any(len(one) < len(other) for one, other in zip(expected, whole, strict=True))
    assert len({len(one) for one in expected}) > 1


def decoded(tokenizer: PreTrainedTokenizerFast, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


@pytest.mark.parametrize("world_size", [2, 7])
def test_the_ranks_shares_are_the_whole(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task, world_size: int
) -> None:
    whole = run(model, tokenizer, task)
    shares = [
        run(model, tokenizer, task, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert sorted(map(repr, (one for share in shares for one in share))) == sorted(map(repr, whole))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= len(task.benchmarks)


def test_the_test_split_on_request(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    results = run(model, tokenizer, task, split="test", max_new_tokens=1)
    digests = [example.digest for one in task.benchmarks for example in one.test()]
    assert [one.example_id for one in results] == digests


def test_an_adapter_takes_part_and_its_dropout_does_not(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    base = run(model, tokenizer, task)
    adapted = get_peft_model(
        model, LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj", "up_proj"])
    )
    adapted.train()
    assert run(adapted, tokenizer, task) == base
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    with_adapter = run(adapted, tokenizer, task)
    assert with_adapter != base
    assert with_adapter == run(adapted, tokenizer, task)


def test_modes_of_the_model_and_the_tokenizer_are_left_as_they_were(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    model.train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]
    run(model, tokenizer, task)
    assert [module.training for module in model.modules()] == before
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("right", None)
    model.zero_grad()
    tokens = torch.tensor([[1, 2, 3]])
    model(tokens, labels=tokens).loss.backward()
    assert model.lm_head.weight.grad is not None


def test_generation_settings_shipped_with_a_model_do_not_change_greedy_decoding(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    plain = run(model, tokenizer, task)
    model.generation_config.update(
        do_sample=True, temperature=0.6, top_p=0.9, repetition_penalty=1.8, max_length=4096
    )
    assert run(model, tokenizer, task) == plain
