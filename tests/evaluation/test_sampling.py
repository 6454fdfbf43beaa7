"""Drawn responses are those of the model's distribution, and each prompt's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.generation import (
    DrawnTokens,
    Sampling,
    TransformersGenerator,
    kept_probabilities,
    sample_seed,
)
from droplora_sweep.evaluation.results import ExampleResult, result_metrics, score
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks.task import Task

SAMPLING = {"num_samples": 3, "temperature": 1.0, "top_p": 0.9, "pass_at": [1, 3]}


def run(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task, **changes: object
) -> list[ExampleResult]:
    ranks = {name: changes.pop(name) for name in ("rank", "world_size") if name in changes}
    fields = {"batch_size": 4, "max_new_tokens": 8, "sampling": SAMPLING, **changes}
    spec = EvaluationSpec.model_validate({"allow_unsandboxed_code": True, **fields})
    return evaluate(model, tokenizer, task, spec, **ranks)


@pytest.fixture(scope="module")
def task() -> Task:
    benchmarks = ("builtin_choice", "builtin_code")
    return load_task(TaskSpec(benchmarks=benchmarks, num_train=1, num_validation=3, num_test=1))


def test_only_the_most_likely_tokens_are_kept() -> None:
    scores = torch.tensor([[0.5, 0.1, 0.4], [0.98, 0.01, 0.01]]).log()
    kept = kept_probabilities(scores, 1.0, 0.6)
    assert (kept > 0).tolist() == [[True, False, True], [True, False, False]]
    torch.testing.assert_close(kept[0, [0, 2]].float(), torch.tensor([0.5, 0.4]))
    assert (kept_probabilities(scores, 1.0, 1.0) > 0).all()
    cold = kept_probabilities(scores, 0.5, 1.0)[0]
    torch.testing.assert_close(cold.float(), torch.tensor([0.25, 0.01, 0.16]) / 0.42)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities = torch.tensor([0.05, 0.55, 0.3, 0.1])
    num_draws = 4000
    seeds = tuple(sample_seed("example", sample) for sample in range(num_draws))
    drawn = DrawnTokens(Sampling(1.0, 1.0, seeds), num_prompt_tokens=3, max_new_tokens=1)
    scores = drawn(torch.zeros(num_draws, 3), probabilities.log().expand(num_draws, -1))
    assert ((scores == 0).sum(-1) == 1).all()
    found = (scores == 0).float().mean(0)
    # Four standard errors.
    limits = 4 * (probabilities * (1 - probabilities) / num_draws).sqrt()
    assert ((found - probabilities).abs() < limits).all()


def test_one_token_s_worth_of_probability_is_greedy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [tokenizer(text)["input_ids"] for text in ("One.", "Two things.")]
    generator = TransformersGenerator(model, tokenizer, frozenset({tokenizer.eos_token_id}), 2)
    greedy = generator.generate(prompts, max_new_tokens=8)
    sampling = Sampling(1.0, 1e-6, (1, 2))
    assert generator.generate(prompts, max_new_tokens=8, sampling=sampling) == greedy


def test_samples_of_code_alone_depend_on_neither_batches_nor_ranks(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    results = run(model, tokenizer, task)
    assert run(model, tokenizer, task, batch_size=64) == results
    shares = [run(model, tokenizer, task, rank=rank, world_size=2) for rank in range(2)]
    assert sorted(map(repr, shares[0] + shares[1])) == sorted(map(repr, results))
    greedy = run(model, tokenizer, replace(task, benchmarks=task.benchmarks[:1]), sampling=None)
    assert [one for one in results if one.benchmark == "builtin_choice"] == greedy
    code = [one for one in results if one.benchmark == "builtin_code"]
    assert [one.sample for one in code] == [0, 1, 2] * 3
    assert len({one.response for one in code}) > 6
    assert len({one.prompt_digest for one in code}) == 3


def test_pass_at_k_is_reported_of_what_was_sampled() -> None:
    def sampled(example_id: str, *passed: bool) -> list[ExampleResult]:
        return [
            ExampleResult("code", example_id, "", "", "", one, 1, sample=sample)
            for sample, one in enumerate(passed)
        ]

    results = [*sampled("a", True, False, False), *sampled("b", False, False, False)]
    results.append(ExampleResult("choice", "c", "", "x", "x", True, 1))
    spec = EvaluationSpec.model_validate({"sampling": {**SAMPLING, "pass_at": [1, 2, 3]}})
    metrics = result_metrics(results, spec.sampling)
    # By hand: of a's three pairs of samples two hold the right one.
    assert {name: value for name, value in metrics.items() if "pass_at" in name} == pytest.approx(
        {"pass_at_1/code": 1 / 6, "pass_at_2/code": 1 / 3, "pass_at_3/code": 1 / 2}
    )
    assert metrics["val/code"] == score(results)["code"] == pytest.approx(metrics["pass_at_1/code"])
    assert "pass_at_1/code" not in result_metrics(results)
