"""Scores a model on a split of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from droplora_sweep.tasks import render_prompt

from .answers import judge
from .generation import generate_greedily
from .results import ExampleResult

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.tasks import Benchmark, Example, Task


def evaluate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    *,
    split: Literal["validation", "test"] = "validation",
    batch_size: int,
    max_new_tokens: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[ExampleResult]:
    """Decodes this rank's share of the split greedily and scores it.

    The shares of all ranks together are the split, each example once, and no result depends on
    ``batch_size``, ``rank`` or ``world_size`` (but for ties, see ``generate_greedily``). Ranks do
    not communicate. The model is evaluated in eval mode and left in the mode it came in, module
    by module; nothing of the tokenizer is changed.

    Args:
        model: A causal language model as it is, with a PEFT adapter, or as a DeepSpeed engine
            (ZeRO 1 or 2: with ZeRO 3 a rank cannot decode alone).
        tokenizer: The model's; its EOS ends a response.
        task: What to score on.
        split: ``test`` reads the test files.
        batch_size: Prompts decoded together.
        max_new_tokens: The longest response, unless the benchmark's own limit is shorter.
        rank: This worker's place among ``world_size`` workers.
        world_size: How many workers share the split.

    Returns:
        In the order of the task's benchmarks, and of the split within each.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    results: list[ExampleResult] = []
    try:
        # Not inference_mode: what a model caches in it could not take part in training later.
        with torch.no_grad():
            for benchmark in task.benchmarks:
                examples = benchmark.test() if split == "test" else benchmark.validation
                limit = min(max_new_tokens, benchmark.max_new_tokens or max_new_tokens)
                results += _evaluate_benchmark(
                    model, tokenizer, benchmark, examples, batch_size, limit, rank, world_size
                )
    finally:
        for module, training in modes.items():
            module.training = training
    return results


def _evaluate_benchmark(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    benchmark: Benchmark,
    examples: tuple[Example, ...],
    batch_size: int,
    max_new_tokens: int,
    rank: int,
    world_size: int,
) -> list[ExampleResult]:
    prompts = [
        tokenizer(render_prompt(example, benchmark.prompt_suffix))["input_ids"]
        for example in examples
    ]
    # Prompts of similar length share a batch, which saves padding, and every rank gets as many
    # long ones as the others.
    by_length = sorted(range(len(examples)), key=lambda index: (len(prompts[index]), index))
    share = by_length[rank::world_size]
    eos_ids = _eos_ids(model, tokenizer)
    responses: dict[int, list[int]] = {}
    for start in range(0, len(share), batch_size):
        batch = share[start : start + batch_size]
        decoded = generate_greedily(
            model,
            [prompts[index] for index in batch],
            eos_ids=eos_ids,
            max_new_tokens=max_new_tokens,
        )
        responses.update(zip(batch, decoded, strict=True))
    order = sorted(responses)
    texts = [_decode(tokenizer, responses[index], eos_ids) for index in order]
    answers = judge(benchmark, texts, [examples[index].answer for index in order])
    return [
        ExampleResult(
            benchmark=benchmark.name,
            example_id=examples[index].digest,
            response=text,
            prediction=answer.prediction,
            gold=examples[index].answer,
            correct=answer.correct,
            num_tokens=len(responses[index]),
        )
        for index, text, answer in zip(order, texts, answers, strict=True)
    ]


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int], eos_ids: frozenset[int]) -> str:
    text = tokenizer.decode(
        [token for token in tokens if token not in eos_ids],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    assert isinstance(text, str), "one sequence decodes to one text"
    return text


def _eos_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokenizer's EOS, which training appends, and those the base model was made with."""
    config = getattr(model, "generation_config", None)
    configured = getattr(config, "eos_token_id", None)
    of_model = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (tokenizer.eos_token_id, *of_model) if token is not None)
