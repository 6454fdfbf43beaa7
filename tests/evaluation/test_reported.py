"""Scorers of one's own and further metrics, of a real model's responses."""

from __future__ import annotations

import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest
import sacrebleu

from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.reported import reported_metrics
from droplora_sweep.evaluation.results import result_metrics
from droplora_sweep.scorers.scorer import ScoringError
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

FUNCTIONS = """
def share(response, reference, prompt, id):
    assert prompt.startswith("Below is an instruction") and len(id) == 16
    return min(1.0, len(response) / 100)

def fails(responses):
    raise RuntimeError("no model of that name")
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    records = [
        {"instruction": f"{n} and?", "output": "w", "answer": f"w{n % 3} w{n % 5}"}
        for n in range(20)
    ]
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(f"{json.dumps(one)}\n" for one in records))
    (tmp_path / "score.py").write_text(FUNCTIONS)

    def loaded(**spec: Any) -> Any:
        mine = {"data": str(data), **spec}
        if "score.py" in str(spec.get("scoring")):
            mine["scoring"] = f"{tmp_path}/{spec['scoring']}"
        fields = {"benchmarks": {"mine": mine}, "num_validation": 10}
        return load_task(TaskSpec.model_validate(fields))

    return loaded


SPEC = EvaluationSpec(batch_size=4, max_new_tokens=6)


def test_corpus_metrics_are_of_all_ranks_responses(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, load: Any
) -> None:
    task = load(scoring="bleu", metrics=["f1", "chrf"])
    results = evaluate(model, tokenizer, task, SPEC)
    found = reported_metrics(task, results)
    assert set(found) == {
        f"{name}/val/mine{end}" for name in ("bleu", "f1", "chrf") for end in ("", "/low", "/high")
    }
    said = [one.response.strip() for one in results]
    golds = [[one.gold for one in results]]
    assert found["bleu/val/mine"] == pytest.approx(sacrebleu.corpus_bleu(said, golds).score)
    assert found["chrf/val/mine"] == pytest.approx(sacrebleu.corpus_chrf(said, golds).score)
    # The score is the mean of sentences' BLEU.
    pairs = zip(said, golds[0], strict=True)
    sentences = [sacrebleu.sentence_bleu(one, [gold]).score for one, gold in pairs]
    assert result_metrics(results)["val/mine"] == pytest.approx(fmean(sentences) / 100)
    for name in ("bleu", "f1", "chrf"):
        low, high = found[f"{name}/val/mine/low"], found[f"{name}/val/mine/high"]
        assert low <= found[f"{name}/val/mine"] <= high

    shares = [
        one
        for rank in (1, 0)
        for one in evaluate(model, tokenizer, task, SPEC, rank=rank, world_size=2)
    ]
    assert reported_metrics(task, shares) == pytest.approx(found)
    assert set(reported_metrics(task, results, "test")) == {
        name.replace("/val/", "/test/") for name in found
    }


def test_a_cost_is_reported_as_it_is_and_scored_the_other_way(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, load: Any
) -> None:
    for direction in ("higher", "lower"):
        task = load(scoring="score.py:share", direction=direction)
        results = evaluate(model, tokenizer, task, SPEC)
        share = fmean(min(1.0, len(one.response) / 100) for one in results)
        assert 0 < share < 1
        score = result_metrics(results)["val/mine"]
        found = reported_metrics(task, results)
        if direction == "higher":
            assert score == pytest.approx(share)
            assert found == {}
        else:
            assert score == pytest.approx(1 - share)
            assert found["cost/val/mine"] == pytest.approx(share)
            assert found["cost/val/mine/low"] <= share <= found["cost/val/mine/high"]


def test_one_that_fails_names_its_benchmark(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, load: Any
) -> None:
    task = load(scoring="score.py:fails")
    with pytest.raises(ScoringError) as refused:
        evaluate(model, tokenizer, task, SPEC)
    assert str(refused.value) == (
        "mine cannot be scored: the scorer raised RuntimeError: no model of that name"
    )
