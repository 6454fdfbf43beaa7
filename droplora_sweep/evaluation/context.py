"""Prompts as tokens, which must fit into a model's context with what is generated behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.scorers.choice import ANSWER_PREFIX

from .prompting import prompts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.spec.evaluation import EvaluationSpec, LongPromptPolicy
    from droplora_sweep.tasks.task import Benchmark, ScoredSplit, Task

    from .prompting import Prompts


@dataclass(frozen=True)
class Fitted:
    """The prompts of a benchmark that are answered.

    Attributes:
        kept: Index of each among all prompts, ascending.
        prompts: Token ids of each.
        num_long: Number of all prompts that did not fit, and were dropped or truncated.
        limit: The most tokens of a prompt; None is no limit.
    """

    kept: list[int]
    prompts: list[list[int]]
    num_long: int
    limit: int | None


def model_context(model: nn.Module) -> int | None:
    """Return the most tokens that a model can read; None where its config names no limit.

    Args:
        model: A causal language model, an adapter's wrapper or a DeepSpeed engine of one.
    """
    config: Any = getattr(getattr(model, "module", model), "config", None)
    text_config = getattr(config, "text_config", None) or config
    return getattr(text_config, "max_position_embeddings", None)


def num_new_tokens(benchmark: Benchmark, spec: EvaluationSpec) -> int:
    """Return the longest response to the benchmark's prompts, in tokens."""
    return min(spec.max_new_tokens, benchmark.max_new_tokens or spec.max_new_tokens)


def are_options_scored(benchmark: Benchmark, spec: EvaluationSpec) -> bool:
    """Return True if options are compared by their probabilities, so that nothing is decoded."""
    return spec.choice == "score" and bool(benchmark.scorer.closed_answers)


def num_answer_tokens(benchmark: Benchmark, spec: EvaluationSpec, prompts: Prompts) -> int:
    """Return the most tokens behind a prompt: those of a response, or of an option and EOS."""
    if not are_options_scored(benchmark, spec):
        return num_new_tokens(benchmark, spec)
    options = [f"{ANSWER_PREFIX}{option}" for option in benchmark.scorer.closed_answers]
    return max(map(len, prompts.tokens(options))) + 1


def fit_prompts(
    prompts: Sequence[Sequence[int]],
    limit: int | None,
    policy: LongPromptPolicy,
    *,
    bos_id: int | None = None,
) -> Fitted:
    """Drop or truncate the prompts that have more than ``limit`` tokens.

    What is cut is a prompt's beginning, but for BOS: its end says what is to be answered how.
    """
    if limit is None:
        return Fitted(list(range(len(prompts))), [list(prompt) for prompt in prompts], 0, None)
    kept = [index for index, one in enumerate(prompts) if policy == "truncate" or len(one) <= limit]
    return Fitted(
        kept,
        [_cut(prompts[index], limit, bos_id) for index in kept],
        sum(len(prompt) > limit for prompt in prompts),
        limit,
    )


def fitted_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    texts: Sequence[str],
    benchmark: Benchmark,
    spec: EvaluationSpec,
    context: int | None,
    *,
    policy: LongPromptPolicy | None = None,
) -> Fitted:
    """Return a benchmark's prompts as they fit into a model's context.

    Args:
        tokenizer: The model's.
        prompts: How the model is asked.
        texts: Rendered prompts.
        benchmark: Their data set.
        spec: Settings of the evaluation.
        context: The most tokens that the model can read; None is no limit.
        policy: Treatment of prompts that do not fit; the spec's where None.

    Raises:
        InputError: There is no room for a prompt.
    """
    limit = prompt_limit(context, benchmark, spec, prompts)
    rows, bos_id = prompts.tokens(texts), tokenizer.bos_token_id
    return fit_prompts(rows, limit, policy or spec.on_long_prompt, bos_id=bos_id)


def _cut(prompt: Sequence[int], limit: int, bos_id: int | None) -> list[int]:
    if len(prompt) <= limit:
        return list(prompt)
    start = list(prompt[:1]) if prompt[0] == bos_id and limit > 1 else []
    return [*start, *prompt[len(prompt) - limit + len(start) :]]


@dataclass(frozen=True)
class PromptLengths:
    """Lengths of a task's validation prompts, known before anything is trained.

    Attributes:
        num_long: Number that do not fit (see ``fit_prompts``), by benchmark; without zeros.
        longest: Tokens of the longest that is answered, with its response.
    """

    num_long: dict[str, int]
    longest: int


def prompt_limit(
    context: int | None, benchmark: Benchmark, spec: EvaluationSpec, prompts: Prompts
) -> int | None:
    """Return the most tokens that a prompt may have.

    Raises:
        InputError: There is no room for a prompt.
    """
    if context is None:
        return None
    num_tokens = num_answer_tokens(benchmark, spec, prompts)
    if num_tokens >= context:
        raise InputError([_no_room(benchmark, spec, context, num_tokens)])
    return context - num_tokens


def prompt_lengths(
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    spec: EvaluationSpec,
    context: int | None,
    *,
    prompts: Prompts | None = None,
    split: ScoredSplit = "validation",
) -> PromptLengths:
    """Measure every prompt of a split.

    Args:
        task: Its benchmarks.
        tokenizer: The model's.
        spec: Settings of the evaluation.
        context: The most tokens that the model can read; None is no limit.
        prompts: How the model is asked; as the task asks where None.
        split: Split of the prompts.

    Raises:
        InputError: A benchmark has no prompt that fits, and ``spec`` drops those that do not.
    """
    prompts = prompts or prompts_of(tokenizer, task)
    num_long: dict[str, int] = {}
    longest = 0
    for benchmark in task.benchmarks:
        examples = benchmark.examples(split)
        texts = [prompts.text(benchmark, example) for example in examples]
        fitted = fitted_prompts(tokenizer, prompts, texts, benchmark, spec, context)
        if fitted.num_long and not fitted.kept:
            raise InputError([_none_fits(benchmark, fitted)])
        num_new = num_answer_tokens(benchmark, spec, prompts)
        longest = max([longest, *(len(prompt) + num_new for prompt in fitted.prompts)])
        if fitted.num_long:
            num_long[benchmark.name] = fitted.num_long
    return PromptLengths(num_long, longest)


def check_contexts(task: Task, spec: EvaluationSpec, context: int | None) -> list[Fault]:
    """Return faults that leave no room for a prompt; scored options are counted by a tokenizer."""
    if context is None:
        return []
    decoded = [one for one in task.benchmarks if not are_options_scored(one, spec)]
    return [
        _no_room(benchmark, spec, context, num_new_tokens(benchmark, spec))
        for benchmark in decoded
        if num_new_tokens(benchmark, spec) >= context
    ][:1]


def _no_room(benchmark: Benchmark, spec: EvaluationSpec, context: int, num_tokens: int) -> Fault:
    if are_options_scored(benchmark, spec):
        problem = (
            f"must leave room for a prompt in {context:,} tokens, the model's context, got score "
            f"of options with up to {num_tokens:,} for {benchmark.name}"
        )
        return Fault("", "evaluation.choice", problem)
    problem = (
        f"must be less than {context:,}, the model's context, of which a prompt needs some, got "
        f"{num_tokens:,} for {benchmark.name}"
    )
    return Fault("", "evaluation.max_new_tokens", problem)


def _none_fits(benchmark: Benchmark, fitted: Fitted) -> Fault:
    problem = (
        f"must be truncate where no prompt fits, got drop: all {fitted.num_long:,} of "
        f"{benchmark.name} have more than {fitted.limit:,} tokens"
    )
    return Fault("", "evaluation.on_long_prompt", problem)
