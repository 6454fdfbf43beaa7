"""Scores a model on a split of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from droplora_sweep.tasks import code_preamble

from .answers import judge
from .batching import rank_share
from .generation import TransformersGenerator, decode_response
from .option_scoring import option_tokens, score_options
from .reading_mode import only_read
from .results import ExampleResult
from .stopping import stop_rule
from .strict import ANSWER_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.spec.evaluation import ChoiceMode, ProtocolName
    from droplora_sweep.tasks import Benchmark, Example, Task

    from .generation import Generator


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
    protocol: ProtocolName = "paper",
    choice: ChoiceMode = "generate",
    max_batch_tokens: int | None = None,
    allow_unsandboxed_code: bool = False,
    answer_prefix: str = ANSWER_PREFIX,
    generator: Generator | None = None,
) -> list[ExampleResult]:
    """Answers this rank's share of the split greedily and scores it.

    The shares of all ranks together are the split, each example once, and no result depends on
    ``batch_size``, ``max_batch_tokens``, ``rank`` or ``world_size``, but for rounding: of ties
    (see ``TransformersGenerator``), and of log-probabilities. Ranks do not communicate. The model
    is evaluated in eval mode and left in the mode it came in, module by module; nothing of the
    tokenizer is changed.

    Args:
        model: A causal language model as it is, with a PEFT adapter, or as a DeepSpeed engine
            (ZeRO 1 or 2: with ZeRO 3 a rank cannot decode alone).
        tokenizer: The model's; its EOS ends a response.
        task: What to score on.
        split: ``test`` reads the test files.
        batch_size: Prompts computed together, at most.
        max_new_tokens: The longest response, unless the benchmark's own limit is shorter.
        rank: This worker's place among ``world_size`` workers.
        world_size: How many workers share the split.
        protocol: How responses are read, see ``judge``.
        choice: ``score`` answers choice benchmarks by their options' probabilities.
        max_batch_tokens: Tokens computed together, at most (see ``batches``).
        allow_unsandboxed_code: Run code answers even where there is no sandbox.
        answer_prefix: For ``score``, what a response says before its option.
        generator: Decodes in the model's place, which then only scores options.

    Returns:
        In the order of the task's benchmarks, and of the split within each.
    """
    eos_ids = _eos_ids(model, tokenizer)
    if generator is None:
        generator = TransformersGenerator(model, tokenizer, eos_ids, batch_size, max_batch_tokens)
    results: list[ExampleResult] = []
    with only_read(model):
        for benchmark in task.benchmarks:
            examples = benchmark.test() if split == "test" else benchmark.validation
            texts = [benchmark.render_prompt(example) for example in examples]
            prompts: list[list[int]] = [tokenizer(text)["input_ids"] for text in texts]
            share = rank_share([len(prompt) for prompt in prompts], rank, world_size)
            if not share:
                continue
            order = sorted(share)
            own = [prompts[index] for index in order]
            if choice == "score" and benchmark.scoring == "choice":
                options = [f"{answer_prefix}{option}" for option in benchmark.options]
                tokens = option_tokens(tokenizer, texts[0], options)
                scores = score_options(
                    model,
                    own,
                    tokens,
                    pad_id=min(eos_ids),
                    batch_size=batch_size,
                    max_batch_tokens=max_batch_tokens,
                )
                responses = [
                    _Response(
                        options[one.chosen],
                        len(tokens.prefix) + len(tokens.suffixes[one.chosen]),
                        one.log_probabilities[one.chosen],
                    )
                    for one in scores
                ]
            else:
                decoded = generator.generate(
                    own,
                    max_new_tokens=min(max_new_tokens, benchmark.max_new_tokens or max_new_tokens),
                    stop=stop_rule(benchmark, protocol),
                )
                responses = [
                    _Response(decode_response(tokenizer, one, eos_ids), len(one)) for one in decoded
                ]
            results += _judged(
                benchmark,
                [examples[index] for index in order],
                responses,
                protocol,
                allow_unsandboxed_code,
            )
    return results


@dataclass(frozen=True)
class _Response:
    """What the model said; fields as in ``ExampleResult``."""

    text: str
    num_tokens: int
    log_probability: float | None = None


def _judged(
    benchmark: Benchmark,
    examples: Sequence[Example],
    responses: Sequence[_Response],
    protocol: ProtocolName,
    allow_unsandboxed_code: bool,
) -> list[ExampleResult]:
    answers = judge(
        benchmark,
        [response.text for response in responses],
        [example.answer for example in examples],
        protocol=protocol,
        preambles=[code_preamble(example) for example in examples],
        allow_unsandboxed_code=allow_unsandboxed_code,
    )
    return [
        ExampleResult(
            benchmark=benchmark.name,
            example_id=example.digest,
            response=response.text,
            prediction=answer.prediction,
            gold=example.answer,
            correct=answer.correct,
            num_tokens=response.num_tokens,
            log_probability=response.log_probability,
            protocol=protocol,
        )
        for example, response, answer in zip(examples, responses, answers, strict=True)
    ]


def _eos_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokenizer's EOS, which training appends, and those the base model was made with."""
    config = getattr(model, "generation_config", None)
    configured = getattr(config, "eos_token_id", None)
    of_model = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (tokenizer.eos_token_id, *of_model) if token is not None)
