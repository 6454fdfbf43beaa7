"""Responses in, results out, where a rule says what is right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.evaluation.answers import judge
from droplora_sweep.evaluation.results import ExampleResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks import Benchmark

    from .share import Share


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
