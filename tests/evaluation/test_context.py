"""Prompts that the model's context cannot hold are dropped or cut, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.context import (
    check_contexts,
    fit_prompts,
    model_context,
    prompt_lengths,
)
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks.task import Task

SPEC = {"max_new_tokens": 8, "batch_size": 4}


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskSpec(benchmarks=("builtin_choice",), num_train=1, num_validation=6))


def with_context(model: LlamaForCausalLM, num_tokens: int) -> LlamaForCausalLM:
    model.config.max_position_embeddings = num_tokens
    return model


def test_what_fits_is_left_alone() -> None:
    fitted = fit_prompts([[1, 2], [3]], 2, "truncate")
    assert (fitted.kept, fitted.prompts, fitted.num_long) == ([0, 1], [[1, 2], [3]], 0)
    assert fit_prompts([[1, 2, 3]], None, "drop").prompts == [[1, 2, 3]]


def test_a_long_prompt_loses_its_beginning_or_is_dropped() -> None:
    prompts = [[0, 1, 2, 3], [5], [0, 7, 8]]
    cut = fit_prompts(prompts, 2, "truncate")
    assert (cut.kept, cut.prompts, cut.num_long) == ([0, 1, 2], [[2, 3], [5], [7, 8]], 2)
    assert fit_prompts(prompts, 2, "truncate", bos_id=0).prompts == [[0, 3], [5], [0, 8]]
    assert fit_prompts(prompts, 1, "truncate", bos_id=0).prompts == [[3], [5], [8]]
    dropped = fit_prompts(prompts, 2, "drop")
    assert (dropped.kept, dropped.prompts, dropped.num_long) == ([1], [[5]], 2)


def test_a_truncating_evaluation_answers_every_example(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    (benchmark,) = task.benchmarks
    lengths = [
        len(tokenizer(benchmark.render_prompt(one))["input_ids"]) for one in benchmark.validation
    ]
    num_new = min(8, benchmark.max_new_tokens or 8)
    limit = sorted(lengths)[2]
    num_long = sum(length > limit for length in lengths)
    assert 0 < num_long < len(lengths)
    spec = EvaluationSpec(**SPEC)
    whole = evaluate(model, tokenizer, task, spec)
    with_context(model, limit + num_new)

    cut = evaluate(model, tokenizer, task, spec)
    assert [one.example_id for one in cut] == [one.example_id for one in whole]
    for length, one, other in zip(lengths, cut, whole, strict=True):
        assert length > limit or one == other
    dropping = EvaluationSpec(**SPEC, on_long_prompt="drop")
    kept = evaluate(model, tokenizer, task, dropping)
    assert kept == [one for length, one in zip(lengths, whole, strict=True) if length <= limit]
    shares = [
        evaluate(model, tokenizer, task, dropping, rank=rank, world_size=2) for rank in range(2)
    ]
    assert sorted(map(repr, shares[0] + shares[1])) == sorted(map(repr, kept))

    for each in (spec, dropping):
        counted = prompt_lengths(task, tokenizer, each, model_context(model))
        assert counted.num_long == {"builtin_choice": num_long}
        assert counted.longest == limit + num_new
    assert prompt_lengths(task, tokenizer, spec, None).num_long == {}


def test_a_policy_that_leaves_nothing_is_refused(
    tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    spec = EvaluationSpec(**SPEC, on_long_prompt="drop")
    with pytest.raises(InputError) as caught:
        prompt_lengths(task, tokenizer, spec, 10)
    assert str(caught.value) == (
        "evaluation.on_long_prompt: must be truncate where no prompt fits, got drop: all 6 of "
        "builtin_choice have more than 2 tokens"
    )


def test_where_options_are_scored_the_longest_response_needs_no_room(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    """The options are read behind a prompt, and one token of these is a byte."""
    (benchmark,) = task.benchmarks
    num_option_tokens = len("the correct answer is answer5") + 1
    spec = EvaluationSpec(max_new_tokens=256, batch_size=4, choice="score")
    assert check_contexts(task, spec, 64) == []
    for context in (64, num_option_tokens + 1):
        counted = prompt_lengths(task, tokenizer, spec, context)
        assert counted.longest == context
        assert counted.num_long == {"builtin_choice": len(benchmark.validation)}
    results = evaluate(with_context(model, 64), tokenizer, task, spec)
    assert len(results) == len(benchmark.validation)
    assert {one.prediction for one in results} <= set(benchmark.scorer.closed_answers)

    problem = (
        f"evaluation.choice: must leave room for a prompt in {num_option_tokens} tokens, the "
        f"model's context, got score of options with up to {num_option_tokens} for builtin_choice"
    )
    with pytest.raises(InputError) as caught:
        evaluate(with_context(model, num_option_tokens), tokenizer, task, spec)
    assert str(caught.value) == problem


def test_a_context_without_room_for_a_prompt_is_refused(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    problem = (
        "evaluation.max_new_tokens: must be less than 8, the model's context, of which a prompt "
        "needs some, got 8 for builtin_choice"
    )
    spec = EvaluationSpec(**SPEC)
    assert [str(fault) for fault in check_contexts(task, spec, 8)] == [problem]
    assert check_contexts(task, spec, 9) == check_contexts(task, spec, None) == []
    with pytest.raises(InputError) as caught:
        evaluate(with_context(model, 8), tokenizer, task, spec)
    assert str(caught.value) == problem
