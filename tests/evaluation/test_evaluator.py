"""Results are transformers' greedy ones, whatever the batch, the rank and the wrapper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, get_peft_model

from droplora_sweep.evaluation import ExampleResult, evaluate
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks import load_task, render_prompt

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks import Task

MAX_NEW_TOKENS = 10


@pytest.fixture(scope="module")
def task() -> Task:
    """Prompts of many lengths; the benchmarks' own limits differ."""
    return load_task(TaskSpec(num_train=1, num_validation=5, num_test=2))


def run(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, task: Task, **options: int
) -> list[ExampleResult]:
    return evaluate(
        model, tokenizer, task, **{"batch_size": 3, "max_new_tokens": MAX_NEW_TOKENS, **options}
    )


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
    results = evaluate(
        model, tokenizer, task, split="test", batch_size=4, max_new_tokens=MAX_NEW_TOKENS
    )
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
