"""Scoring gives what greedy decoding among the options gives, whatever the tokens are."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from droplora_sweep.evaluation.encoding import encode_pairs
from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.likelihood import reference_likelihoods
from droplora_sweep.evaluation.option_scoring import (
    OptionTokens,
    option_tokens,
    score_options,
    score_with_references,
)
from droplora_sweep.evaluation.results import agreement, score
from droplora_sweep.evaluation.tokens import prompt_tokens, response_tokens
from droplora_sweep.spec import EvaluationSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from droplora_sweep.tasks.task import Task

PREFIX = "the correct answer is "
ANSWERS = tuple(f"answer{index}" for index in range(1, 6))
PROMPTS = [f"{'Which is it? ' * times}\n\n### Response:\n" for times in (1, 5, 2, 3, 8, 4)]
OPTIONS = {
    "one token apart": ANSWERS,
    "several tokens apart": ("true", "false", "maybe"),
    "one begins another": ("answer1", "answer12", "answer123", "answer"),
    "a common beginning": ("start", "stare", "stars", "tar"),
    "only one": ("true",),
}


def options_behind(tokenizer: Any, prompt: str, responses: Sequence[str]) -> OptionTokens:
    [start] = prompt_tokens(tokenizer, [prompt])
    pairs = [(prompt, response) for response in responses]
    behind = response_tokens(tokenizer, pairs, [start] * len(pairs))
    return option_tokens(behind, tokenizer.eos_token_id)


def restricted(
    model: Any, tokenizer: Any, prompts: list[list[int]], sequences: list[tuple[int, ...]]
) -> list[int]:
    """The reference: transformers' greedy decoding, held to the sequences token by token."""
    chosen = []
    for prompt in prompts:

        def allowed(_: int, tokens: torch.Tensor, start: int = len(prompt)) -> list[int]:
            said = tuple(tokens[start:].tolist())
            return [one[len(said)] for one in sequences if one[: len(said)] == said] or [0]

        tokens = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            prefix_allowed_tokens_fn=_until_end(allowed, len(prompt), sequences),
            max_new_tokens=max(map(len, sequences)),
            do_sample=False,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        chosen.append(
            next(index for index, one in enumerate(sequences) if tokens[: len(one)] == list(one))
        )
    return chosen


def _until_end(allowed: Any, start: int, sequences: list[tuple[int, ...]]) -> Any:
    """Behind a whole sequence anything goes; nothing reads it."""

    def function(row: int, tokens: torch.Tensor) -> list[int]:
        said = tuple(tokens[start:].tolist())
        whole = any(said[: len(one)] == one for one in sequences)
        return [0] if whole else allowed(row, tokens)

    return function


@pytest.mark.parametrize("name", OPTIONS)
def test_the_choice_is_that_of_restricted_greedy_decoding(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str
) -> None:
    responses = [PREFIX + option for option in OPTIONS[name]]
    options = options_behind(tokenizer, PROMPTS[0], responses)
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    sequences = [options.prefix + suffix for suffix in options.suffixes]
    expected = restricted(model, tokenizer, prompts, sequences)
    with torch.no_grad():
        for batch_size in (1, 4, 64):
            scores = score_options(model, prompts, options, pad_id=0, batch_size=batch_size)
            assert [one.chosen for one in scores] == expected


@pytest.mark.parametrize("name", OPTIONS)
def test_log_probabilities_are_those_of_the_whole_sequence(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str
) -> None:
    options = options_behind(tokenizer, PROMPTS[0], [PREFIX + option for option in OPTIONS[name]])
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    with torch.no_grad():
        scores = score_options(model, prompts, options, pad_id=0, batch_size=4)
        for prompt, of_prompt in zip(prompts, scores, strict=True):
            for suffix, found in zip(options.suffixes, of_prompt.log_probabilities, strict=True):
                tokens = torch.tensor([[*prompt, *options.prefix, *suffix]])
                logs_TV = model(tokens).logits[0, :-1].log_softmax(-1)
                expected = logs_TV.gather(1, tokens[0, 1:, None])[-len(suffix) :].sum()
                assert found == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("name", ["one token apart", "only one"])
def test_one_pass_gives_the_choice_and_the_likelihood_of_the_reference(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str
) -> None:
    responses = [PREFIX + option for option in OPTIONS[name]]
    options = options_behind(tokenizer, PROMPTS[0], responses)
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    references = [index % len(responses) for index in range(len(prompts))]
    calls: list[Any] = []
    hook = model.register_forward_pre_hook(lambda *call: calls.append(call))
    with torch.no_grad():
        alone = score_options(model, prompts, options, pad_id=0, batch_size=4)
        calls.clear()
        both = score_with_references(
            *(model, prompts, options, references),
            eos_id=tokenizer.eos_token_id,
            batch_size=4,
        )
        assert len(calls) == 2
        hook.remove()
        pairs = [(prompt, responses[one]) for prompt, one in zip(PROMPTS, references, strict=True)]
        likelihoods = reference_likelihoods(
            *(model, tokenizer, encode_pairs(tokenizer, pairs)),
            [responses[one] for one in references],
            context=1024,
            batch_size=4,
        )
    for one, (scores, log_probability), likelihood in zip(alone, both, likelihoods, strict=True):
        assert scores.chosen == one.chosen
        assert scores.log_probabilities == pytest.approx(one.log_probabilities, abs=1e-4)
        assert likelihood is not None
        assert log_probability == pytest.approx(likelihood.log_probability, abs=1e-3)


def test_tokens_part_where_the_options_do(tokenizer: PreTrainedTokenizerFast) -> None:
    options = options_behind(tokenizer, "?\n", ["is answer1", "is answer2"])
    assert tokenizer.decode(options.prefix) == "is answer"
    assert [tokenizer.decode(suffix) for suffix in options.suffixes] == ["1", "2"]

    nested = options_behind(tokenizer, "?\n", ["is 1", "is 12"])
    assert [tokenizer.decode(suffix) for suffix in nested.suffixes] == ["<eos>", "2<eos>"]


def test_evaluation_by_scores(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    task = load_task(TaskSpec(num_train=1, num_validation=9, num_test=2))
    spec = EvaluationSpec(batch_size=4, max_new_tokens=3, allow_unsandboxed_code=True)
    by_scores = spec.model_copy(update={"choice": "score"})
    scored = evaluate(model, tokenizer, task, by_scores)
    decoded = evaluate(model, tokenizer, task, spec)
    for one, other in zip(scored, decoded, strict=True):
        assert one.example_id == other.example_id
        if one.benchmark == "builtin_choice":
            assert one.response == PREFIX + one.prediction
            assert one.log_probability < 0
        else:
            assert one == other
            assert one.log_probability is None
    for protocol in ("paper", "strict"):
        other = {"batch_size": 1, "protocol": protocol, "max_batch_tokens": 500}
        shares = [
            one
            for rank in range(2)
            for one in evaluate(
                *(model, tokenizer, task),
                by_scores.model_copy(update=other),
                rank=rank,
                world_size=2,
            )
        ]
        assert {one.protocol for one in shares} == {protocol}
        predictions = {one.example_id: one.prediction for one in shares if one.log_probability}
        assert predictions == {
            one.example_id: one.prediction for one in scored if one.log_probability
        }


MADE = Path(__file__).parents[2] / "models" / "smollm2-135m"
SMOLLM2 = Path(os.environ.get("DROPLORA_TEST_SMOLLM2", MADE))
needs_smollm2 = pytest.mark.skipif(
    not SMOLLM2.is_dir(),
    reason="`make smollm2` was not run, nor does DROPLORA_TEST_SMOLLM2 name what it makes",
)


@pytest.fixture(scope="module")
def smollm2() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(SMOLLM2)


def real_task(commonsense: Path, name: str, num: int) -> tuple[Task, tuple[str, ...]]:
    task = load_task(
        TaskSpec(benchmarks=(name,), data=str(commonsense), num_train=1, num_validation=num)
    )
    return task, task.benchmarks[0].scorer.options


@needs_smollm2
@pytest.mark.slow
@pytest.mark.parametrize("name", ["arc_easy", "boolq"])
def test_smollm2_chooses_as_its_restricted_greedy_decoding(
    commonsense: Path, smollm2: tuple[Any, Any], name: str
) -> None:
    model, tokenizer = smollm2
    task, options = real_task(commonsense, name, 12)
    [benchmark] = task.benchmarks
    texts = [benchmark.render_prompt(one) for one in benchmark.validation]
    tokens = options_behind(tokenizer, texts[0], [PREFIX + option for option in options])
    expected = restricted(
        model,
        tokenizer,
        [tokenizer(text)["input_ids"] for text in texts],
        [tokens.prefix + suffix for suffix in tokens.suffixes],
    )
    spec = EvaluationSpec(batch_size=5, max_new_tokens=1, choice="score")
    results = evaluate(model, tokenizer, task, spec)
    assert [one.prediction for one in results] == [options[index] for index in expected]


@needs_smollm2
@pytest.mark.slow
@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["arc_easy", "boolq"])
def test_scoring_is_five_times_faster_than_decoding(
    commonsense: Path, smollm2: tuple[Any, Any], name: str
) -> None:
    """Side by side with the default limit of new tokens, stopping at the first option."""
    model, tokenizer = smollm2
    task, _ = real_task(commonsense, name, 16)
    ratios = []
    for _ in range(2):
        seconds = []
        for choice in ("score", "generate"):
            start = time.perf_counter()
            spec = EvaluationSpec(batch_size=16, max_new_tokens=256, choice=choice)
            results = evaluate(model, tokenizer, task, spec)
            seconds.append(time.perf_counter() - start)
            if choice == "score":
                scored = results
        ratios.append(seconds[1] / seconds[0])
    print(name, ratios, agreement(scored, results), score(scored), score(results))  # noqa: T201
    assert statistics.median(ratios) >= 5
