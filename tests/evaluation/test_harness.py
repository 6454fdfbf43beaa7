"""A harness task has the scores that the library's own model for transformers gives it."""

from __future__ import annotations

import copy
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from droplora_sweep.evaluation.answering import Answerer
from droplora_sweep.evaluation.evaluator import eos_ids_of, evaluate
from droplora_sweep.evaluation.generation import TransformersGenerator, only_read
from droplora_sweep.evaluation.harness_model import HarnessModel
from droplora_sweep.evaluation.prompting import TextPrompts
from droplora_sweep.evaluation.reported import reported_metrics
from droplora_sweep.evaluation.results import result_metrics
from droplora_sweep.scorers.scorer import ScoringError
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.harness import place_of
from droplora_sweep.tasks.loading import load_task
from tests.tasks.test_harness_tasks import write_task

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.tasks.task import Task

SIZES = {"train": 8, "validation": 14}
GENERATED = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_target": "{{choices[label]}}",
    "generation_kwargs": {"until": ["\n", "e"], "max_gen_toks": 9, "do_sample": False},
    "metric_list": [
        {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
        {"metric": "bleu", "aggregation": "bleu", "higher_is_better": True},
    ],
}
SAID = {
    "output_type": "loglikelihood",
    "doc_to_choice": None,
    "doc_to_target": " {{choices[label]}}",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
    ],
}
FILTERED = {
    **GENERATED,
    "filter_list": [
        {
            "name": "strict",
            "filter": [
                {"function": "regex", "regex_pattern": "(x)"},
                {"function": "take_first"},
            ],
        },
        {
            "name": "first",
            "filter": [
                {"function": "regex", "regex_pattern": "(.)"},
                {"function": "take_first"},
            ],
        },
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
SPEC = EvaluationSpec(batch_size=4, max_new_tokens=12)


def ours(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: str, **options: Any
) -> tuple[Task, list[ExampleResult], dict[str, float]]:
    benchmarks = {"capitals": {"lm_eval": path, **options}}
    task = load_task(
        TaskSpec.model_validate({"benchmarks": benchmarks, "num_validation": SIZES["validation"]})
    )
    results = evaluate(model, tokenizer, task, SPEC)
    return task, results, {**result_metrics(results), **reported_metrics(task, results)}


def theirs(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: str, num_fewshot: int | None
) -> Any:
    lm = HFLM(
        pretrained=model.eval(),
        tokenizer=copy.deepcopy(tokenizer),
        batch_size=4,
        max_length=1024,
    )
    return simple_evaluate(
        model=lm,
        tasks=[path],
        num_fewshot=num_fewshot,
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )


@pytest.mark.parametrize(
    ("changes", "metric", "others", "num_fewshot"),
    [
        ({}, "acc", ["acc_norm"], None),
        ({}, "acc", ["acc_norm"], 3),
        (GENERATED, "exact_match", ["bleu"], 2),
        (SAID, "acc", ["perplexity"], 1),
    ],
    ids=["multiple_choice", "few_shots", "generate_until", "loglikelihood"],
)
def test_scores_are_equal(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    metric: str,
    others: list[str],
    num_fewshot: int | None,
) -> None:
    path = write_task(tmp_path, SIZES, **changes)
    monkeypatch.chdir(tmp_path)
    expected = theirs(model, tokenizer, path, num_fewshot)
    task, results, metrics = ours(model, tokenizer, path, num_fewshot=num_fewshot)

    aggregates = expected["results"]["capitals"]
    assert metrics["val/capitals"] == pytest.approx(aggregates[f"{metric},none"])
    for name in others:
        found = metrics[f"{name}/val/capitals"]
        assert found == pytest.approx(aggregates[f"{name},none"], rel=1e-4)
        assert metrics[f"{name}/val/capitals/low"] <= metrics[f"{name}/val/capitals/high"]
    samples = {one["doc_id"]: one for one in expected["samples"]["capitals"]}
    assert len(results) == len(samples) == SIZES["validation"]
    for example, result in zip(task.benchmarks[0].validation, results, strict=True):
        kind, index = place_of(example.id)
        assert (kind, example.digest) == ("validation", result.example_id)
        assert result.score == samples[index][metric]
        if changes is GENERATED:
            assert result.response == samples[index]["resps"][0][0]


def test_no_result_depends_on_the_workers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = write_task(tmp_path, SIZES)
    task = load_task(
        TaskSpec.model_validate(
            {"benchmarks": {"c": {"lm_eval": path, "num_fewshot": 2}}, "num_validation": 9}
        )
    )
    whole = {one.example_id: one for one in evaluate(model, tokenizer, task, SPEC)}
    shared = [
        one
        for rank in range(3)
        for one in evaluate(model, tokenizer, task, SPEC, rank=rank, world_size=3)
    ]
    assert {one.example_id: (one.score, one.response, one.prompt_digest) for one in shared} == {
        key: (one.score, one.response, one.prompt_digest) for key, one in whole.items()
    }


def test_a_metric_is_named_with_its_filter(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = write_task(tmp_path, SIZES, **FILTERED)
    _, results, metrics = ours(model, tokenizer, path)
    assert metrics["val/capitals"] == fmean(one.score or 0 for one in results)
    assert "exact_match.first/val/capitals" in metrics
    _, results, metrics = ours(model, tokenizer, path, metric="exact_match,first")
    assert "exact_match.strict/val/capitals" in metrics
    assert {one.prediction for one in results if one.response} <= {
        one.response[0] for one in results if one.response
    }


def test_whole_texts_are_as_likely(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = ["short", "a longer text of several words " * 4, "x" * 300]
    requests = [
        Instance("loglikelihood_rolling", {}, (text,), index, metadata=("t", index, 1))
        for index, text in enumerate(texts)
    ]
    model.config.max_position_embeddings = 128
    lm = HFLM(pretrained=model.eval(), tokenizer=copy.deepcopy(tokenizer), batch_size=2)
    assert lm.max_length == 128
    expected = lm.loglikelihood_rolling(requests)
    prompts = TextPrompts(tokenizer)
    eos_ids = eos_ids_of(model, tokenizer, prompts)
    generator = TransformersGenerator(model, tokenizer, eos_ids, 2)
    answerer = Answerer(model, tokenizer, prompts, eos_ids, generator, SPEC, "")
    with only_read(model):
        found = HarnessModel(answerer).loglikelihood_rolling(requests)
    assert found == pytest.approx(expected, rel=1e-4)


def test_drawn_responses_are_refused(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    drawn = {"generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.7}}
    path = write_task(tmp_path, SIZES, **{**GENERATED, **drawn})
    with pytest.raises(ScoringError) as refused:
        ours(model, tokenizer, path)
    assert str(refused.value) == (
        "capitals cannot be scored: the task must decode greedily, got do_sample: true in its "
        "generation_kwargs"
    )
