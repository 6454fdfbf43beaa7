"""A model's scores on a split of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from droplora_sweep.scorers.choice import ANSWER_PREFIX
from droplora_sweep.scorers.harness import HarnessScorer

from .answering import (
    Answerer,
    Share,
    answer_and_rate,
    answer_by_decoding,
    answer_by_probability,
)
from .context import are_options_scored, fitted_prompts, model_context
from .generation import TransformersGenerator, only_read, rank_share
from .likelihood import reference_likelihoods
from .prompting import prompts_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks.task import Benchmark, Example, ScoredSplit, Task

    from .generation import Generator
    from .prompting import Prompts
    from .results import ExampleResult


def evaluate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    spec: EvaluationSpec,
    *,
    split: ScoredSplit = "validation",
    rank: int = 0,
    world_size: int = 1,
    answer_prefix: str = ANSWER_PREFIX,
    generator: Generator | None = None,
) -> list[ExampleResult]:
    """Answer this rank's share of the split and score it.

    A judge's limits hold for all ranks together, each has its part of them.

    The shares of all ranks together are the split, each example once, and no result depends on
    ``spec.batch_size``, ``spec.max_batch_tokens``, ``rank`` or ``world_size``, but for rounding:
    of ties (see ``TransformersGenerator``), and of log-probabilities. Ranks do not communicate.
    The model is evaluated in eval mode and left in the mode it came in, module by module; nothing
    of the tokenizer is changed.

    Args:
        model: A causal language model as it is, with a PEFT adapter, or as a DeepSpeed engine
            (ZeRO 1 or 2). One that is split over ranks needs them in step, see `models.sharding`.
        tokenizer: The model's; its EOS ends a response.
        task: Benchmarks to score on.
        spec: Settings by which responses are made and read.
        split: ``test`` reads the test files.
        rank: This worker's place among ``world_size`` workers.
        world_size: Number of workers that share the split.
        answer_prefix: Text before an option in a response, where options are scored.
        generator: Decodes in the model's place, which then only scores options.

    Returns:
        In the order of the task's benchmarks, and of the split within each; without the examples
        that ``spec.on_long_prompt`` drops.

    Raises:
        InputError: The model's context has no room for a prompt.
        ScoringError: A user's scorer cannot score the responses.
    """
    prompts = prompts_of(tokenizer, task)
    eos_ids = eos_ids_of(model, tokenizer, prompts)
    if spec.judge is not None:
        spec = spec.model_copy(update={"judge": spec.judge.share(rank, world_size)})
    if generator is None:
        generator = transformers_generator(model, tokenizer, eos_ids, spec)
    answerer = Answerer(model, tokenizer, prompts, eos_ids, generator, spec, answer_prefix)
    results: list[ExampleResult] = []
    with only_read(model):
        for benchmark in task.benchmarks:
            share = _share(benchmark, benchmark.examples(split), answerer, rank, world_size)
            if share.examples:
                answered = _with_note(_answer(share, answerer), generator.note)
                has_references = spec.likelihood and not benchmark.scorer.is_rated
                results += (
                    _with_likelihoods(answered, share, answerer) if has_references else answered
                )
    return results


def transformers_generator(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    eos_ids: frozenset[int],
    spec: EvaluationSpec,
) -> TransformersGenerator:
    """Return what decodes with the model itself, as the spec has it."""
    return TransformersGenerator(
        model,
        tokenizer,
        eos_ids,
        spec.batch_size,
        spec.max_batch_tokens,
        cache="static" if spec.static_cache else "dynamic",
    )


def _with_note(results: list[ExampleResult], note: str | None) -> list[ExampleResult]:
    """Return the results with a remark on their decoding; a rating's own reason stays.

    Where options were scored nothing was decoded.
    """
    if note is None:
        return results
    return [
        replace(one, note=note) if one.note is None and one.log_probability is None else one
        for one in results
    ]


def _with_likelihoods(
    results: list[ExampleResult], share: Share, answerer: Answerer
) -> list[ExampleResult]:
    """Return the results with the likelihood of each example's reference, unless they have it."""
    if any(one.reference_log_probability is not None for one in results):
        return results
    found = reference_likelihoods(
        answerer.model,
        answerer.tokenizer,
        answerer.prompts.encode([(share.benchmark, one) for one in share.examples], "last_turn"),
        [one.output for one in share.examples],
        context=model_context(answerer.model),
        batch_size=answerer.spec.batch_size,
        max_batch_tokens=answerer.spec.max_batch_tokens,
    )
    known = {
        example.digest: one
        for example, one in zip(share.examples, found, strict=True)
        if one is not None
    }
    return [
        result
        if (one := known.get(result.example_id)) is None
        else replace(
            result,
            reference_log_probability=one.log_probability,
            reference_bytes=one.num_bytes,
        )
        for result in results
    ]


def _answer(share: Share, answerer: Answerer) -> list[ExampleResult]:
    """Answer in the way that follows from the scorer and the spec."""
    scorer, spec = share.benchmark.scorer, answerer.spec
    if isinstance(scorer, HarnessScorer):
        # Imports a library that only such tasks need.
        from .harness import answer_by_harness

        return answer_by_harness(share, answerer)
    if scorer.is_rated:
        assert spec.judge is not None, "a task that is rated without a judge is refused before"
        return answer_and_rate(share, answerer, spec.judge)
    if are_options_scored(share.benchmark, spec):
        return answer_by_probability(share, answerer)
    return answer_by_decoding(share, answerer, spec.sampling if scorer.runs_code else None)


def _share(
    benchmark: Benchmark,
    examples: tuple[Example, ...],
    answerer: Answerer,
    rank: int,
    world_size: int,
) -> Share:
    texts = [answerer.prompts.text(benchmark, example) for example in examples]
    context = model_context(answerer.model)
    fitted = fitted_prompts(
        answerer.tokenizer, answerer.prompts, texts, benchmark, answerer.spec, context
    )
    own = sorted(rank_share([len(prompt) for prompt in fitted.prompts], rank, world_size))
    kept = [fitted.kept[index] for index in own]
    return Share(
        benchmark,
        [examples[index] for index in kept],
        [texts[index] for index in kept],
        [fitted.prompts[index] for index in own],
    )


def eos_ids_of(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> frozenset[int]:
    """Return the token that ends a response in training, EOS, and those of the base model."""
    config = getattr(model, "generation_config", None)
    configured = getattr(config, "eos_token_id", None)
    of_model = configured if isinstance(configured, list) else [configured]
    found = (prompts.end_id, tokenizer.eos_token_id, *of_model)
    return frozenset(token for token in found if token is not None)
