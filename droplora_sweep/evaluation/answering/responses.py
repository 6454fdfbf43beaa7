"""Responses in, results out, where a rule says what is right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from droplora_sweep.evaluation.answers import judge
from droplora_sweep.evaluation.context import num_new_tokens
from droplora_sweep.evaluation.results import ExampleResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.generation import Generator
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks.task import Benchmark, Example


@dataclass(frozen=True)
class Share:
    """One rank's examples of a benchmark's split; at least one, in the split's order.

    Attributes:
        benchmark: What they are of.
        examples: What is asked.
        texts: The rendered prompt of each.
        prompts: The same as token ids, of which what the context cannot hold is cut off.
    """

    benchmark: Benchmark
    examples: Sequence[Example]
    texts: Sequence[str] = field(repr=False)
    prompts: Sequence[Sequence[int]] = field(repr=False)


@dataclass(frozen=True)
class Answerer:
    """A model that is evaluated.

    Attributes:
        model: A causal language model, with or without an adapter.
        tokenizer: The model's.
        eos_ids: Tokens that end a response; at least one.
        generator: Continues prompts.
        spec: How responses are made and read.
        answer_prefix: What a response says before its option, where options are scored.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    eos_ids: frozenset[int]
    generator: Generator
    spec: EvaluationSpec
    answer_prefix: str

    def num_new_tokens(self, benchmark: Benchmark) -> int:
        """The longest response to the benchmark's prompts."""
        return num_new_tokens(benchmark, self.spec)


@dataclass(frozen=True)
class Response:
    """What the model said to one prompt; fields as in ``ExampleResult``.

    Attributes:
        index: Of the example in its share.
    """

    index: int
    text: str
    num_tokens: int
    log_probability: float | None = None
    sample: int = 0


def read_responses(
    share: Share, responses: Sequence[Response], spec: EvaluationSpec
) -> list[ExampleResult]:
    """Every response's result, in the responses' order."""
    benchmark: Benchmark = share.benchmark
    examples = [share.examples[response.index] for response in responses]
    answers = judge(
        benchmark,
        [response.text for response in responses],
        [example.answer for example in examples],
        protocol=spec.protocol,
        preambles=[example.preamble or "" for example in examples],
        allow_unsandboxed_code=spec.allow_unsandboxed_code,
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
            protocol=spec.protocol,
            prompt_digest=prompt_digest(share.texts[response.index]),
            sample=response.sample,
        )
        for example, response, answer in zip(examples, responses, answers, strict=True)
    ]


def prompt_digest(text: str) -> str:
    """First 16 hex digits of the sha256 over a rendered prompt."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
