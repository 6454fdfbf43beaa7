"""A reference's likelihood is transformers' own loss of it, whatever the batch and the rank."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from droplora_sweep.evaluation.encoding import encode_pairs
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.likelihood import log_probabilities, reference_likelihoods
from droplora_sweep.evaluation.results import ExampleResult, bits_per_byte, result_metrics
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.loop import response_loss
from droplora_sweep.training.trainable import trainable

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks.task import Task

ROUNDING = 1e-3
"""Nats that the sum over some hundred tokens in float32 may differ by."""


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskSpec(num_train=1, num_validation=4, num_test=2))


@pytest.fixture(scope="module")
def pairs(task: Task) -> list[tuple[str, str]]:
    """References of many lengths, behind prompts of many lengths, and in two alphabets."""
    own = [
        (benchmark.render_prompt(one), one.output)
        for benchmark in task.benchmarks
        for one in benchmark.validation
    ]
    return [*own, ("Où est la façade ?\n", "À côté du café 🕰"), ("?" * 300, "x")]


def measured(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: Any, **options: Any
) -> list[Any]:
    with torch.no_grad():
        return reference_likelihoods(
            *(model.eval(), tokenizer, encode_pairs(tokenizer, pairs)),
            [reference for _, reference in pairs],
            **{"context": 1024, "batch_size": 4, **options},
        )


def test_it_is_the_loss_that_transformers_gives_one_by_one(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]
) -> None:
    found = measured(model, tokenizer, pairs)
    for (prompt, reference), one in zip(pairs, found, strict=True):
        start = tokenizer(prompt)["input_ids"]
        tokens = [*tokenizer(prompt + reference)["input_ids"], tokenizer.eos_token_id]
        labels = [-100] * len(start) + tokens[len(start) :]
        with torch.no_grad():
            loss = model(torch.tensor([tokens]), labels=torch.tensor([labels])).loss
        num_tokens = len(tokens) - len(start)
        assert one.log_probability == pytest.approx(-float(loss) * num_tokens, abs=ROUNDING)
        # One token per byte, and EOS.
        assert one.num_bytes == num_tokens - 1


def test_it_is_the_training_loss_of_the_same_example(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]
) -> None:
    sequences = trainable(encode_pairs(tokenizer, pairs), max_tokens=1024).sequences
    for sequence, one in zip(sequences, measured(model, tokenizer, pairs), strict=True):
        tokens = torch.from_numpy(sequence.tokens).long()
        start = sequence.num_prompt_tokens
        with torch.no_grad():
            logits = model(tokens[None]).logits
        loss = response_loss(logits[:, start - 1 : -1], tokens[None, start:])
        assert one.log_probability == pytest.approx(-float(loss), abs=ROUNDING)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 1}, {"batch_size": 64}, {"max_batch_tokens": 1}, {"max_batch_tokens": 900}],
)
def test_it_does_not_depend_on_the_batches(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    pairs: list[tuple[str, str]],
    options: dict[str, int],
) -> None:
    expected = [one.log_probability for one in measured(model, tokenizer, pairs)]
    found = [one.log_probability for one in measured(model, tokenizer, pairs, **options)]
    assert found == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("max_floats", [1, 5_000])
def test_no_pass_has_more_logits_than_its_limit(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    pairs: list[tuple[str, str]],
    max_floats: int,
) -> None:
    sequences = encode_pairs(tokenizer, pairs)
    longest = max(one.num_response_tokens for one in sequences) * len(tokenizer)
    sizes: list[int] = []
    hook = model.lm_head.register_forward_hook(lambda *call: sizes.append(call[2].numel()))
    options = {"pad_id": 0, "batch_size": 64, "max_batch_tokens": None, "num_words": len(tokenizer)}
    with torch.no_grad():
        expected = log_probabilities(model.eval(), sequences, **options)
        # All at once.
        assert sizes[0] == max(sizes) > 3 * longest
        sizes.clear()
        found = log_probabilities(
            model, sequences, **options, max_logits=longest, max_floats=max_floats
        )
    hook.remove()
    assert max(sizes) == longest
    assert len(sizes) < len(sequences)
    assert found == pytest.approx(expected, abs=ROUNDING)


def test_a_prompt_gives_way_to_its_reference_where_the_context_is_short(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    context = 24
    pairs = [("a" * 30 + "bc\n", "12345"), ("bc\n", "x" * 22), ("bc\n", "x" * 23), ("bc\n", " ")]
    cut = measured(model, tokenizer, pairs, context=context)
    # 24 tokens hold EOS and 5 of the reference, and so 18 of the prompt.
    kept = [("a" * 15 + "bc\n", "12345"), ("\n", "x" * 22)]
    expected = measured(model, tokenizer, kept)
    assert [one.log_probability for one in cut[:2]] == pytest.approx(
        [one.log_probability for one in expected], abs=ROUNDING
    )
    # No room for any prompt; and a blank reference is none.
    assert cut[2:] == [None, None]


def test_bos_stays_where_a_prompt_is_cut(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer_with_bos = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token="<eos>", bos_token="^"
    )
    [cut] = measured(model, tokenizer_with_bos, [("^aaaaab\n", "12")], context=7)
    [expected] = measured(model, tokenizer_with_bos, [("^ab\n", "12")])
    assert cut.log_probability == pytest.approx(expected.log_probability, abs=ROUNDING)


@pytest.mark.parametrize("choice", ["generate", "score"])
def test_an_evaluation_measures_every_example_over_all_ranks(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task, choice: str
) -> None:
    spec = EvaluationSpec(
        batch_size=3, max_new_tokens=2, allow_unsandboxed_code=True, choice=choice, likelihood=True
    )
    results = evaluate(model, tokenizer, task, spec)
    texts = {
        one.digest: (benchmark.render_prompt(one), one.output)
        for benchmark in task.benchmarks
        for one in benchmark.validation
    }
    expected = measured(model, tokenizer, [texts[one.example_id] for one in results])
    likelihoods = [one.reference_log_probability for one in results]
    assert likelihoods == pytest.approx([one.log_probability for one in expected], abs=ROUNDING)
    assert [one.reference_bytes for one in results] == [
        len(texts[one.example_id][1].encode()) for one in results
    ]
    shares = [
        one
        for rank in range(2)
        for one in evaluate(model, tokenizer, task, spec, rank=rank, world_size=2)
    ]
    metrics, of_shares = result_metrics(results), result_metrics(shares)
    names = [name for name in metrics if name.startswith("bits_per_byte/")]
    assert names == [
        "bits_per_byte/val/builtin_choice",
        "bits_per_byte/val/builtin_code",
        "bits_per_byte/val/builtin_math",
        "bits_per_byte/val/mean",
    ]
    assert {name: of_shares[name] for name in names} == pytest.approx(
        {name: metrics[name] for name in names}, abs=ROUNDING
    )
    # A random model of 257 words needs more than eight bits for a byte.
    assert all(8 < metrics[name] < 40 for name in names)


def test_an_evaluation_without_it_has_no_such_metric(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: Task
) -> None:
    spec = EvaluationSpec(max_new_tokens=2, allow_unsandboxed_code=True)
    results = evaluate(model, tokenizer, task, spec)
    assert {one.reference_log_probability for one in results} == {None}
    assert not any("bits_per_byte" in name for name in result_metrics(results))


def test_bits_per_byte_weigh_every_byte_alike_and_every_benchmark() -> None:
    bit = math.log(2)
    references = [
        ("long", "e0", -30 * bit, 10),
        ("long", "e1", -90 * bit, 90),
        # A second sample of the same example.
        ("long", "e1", -90 * bit, 90),
        ("short", "e0", -4 * bit, 2),
        ("short", "e1", None, None),
        ("chat", "q1", None, None),
    ]
    assert bits_per_byte(references) == pytest.approx({"long": 1.2, "short": 2.0, "mean": 1.6})
    assert bits_per_byte(references[-2:]) == {}


def test_its_metrics_are_named_by_their_split() -> None:
    one = ExampleResult("choice", "e0", "a", "a", "a", True, 1)
    assert "bits_per_byte/val/choice" not in result_metrics([one])
    known = ExampleResult(
        *("choice", "e0", "a", "a", "a", True, 1),
        reference_log_probability=-math.log(2),
        reference_bytes=2,
    )
    metrics = result_metrics([known], split="confirmation")
    assert metrics["bits_per_byte/confirm/choice"] == pytest.approx(0.5)
    assert metrics["bits_per_byte/confirm/mean"] == pytest.approx(0.5)
