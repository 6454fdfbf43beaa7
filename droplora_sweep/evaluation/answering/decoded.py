"""Answers by continuing each prompt greedily."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.evaluation.generation import decode_response
from droplora_sweep.evaluation.stopping import stop_rule

from .responses import Response, read_responses

if TYPE_CHECKING:
    from droplora_sweep.evaluation.results import ExampleResult

    from .share import Answerer, Share


def answer_greedily(share: Share, answerer: Answerer) -> list[ExampleResult]:
    """The most likely response to each example."""
    decoded = answerer.generator.generate(
        share.prompts,
        max_new_tokens=answerer.num_new_tokens(share.benchmark),
        stop=stop_rule(share.benchmark, answerer.spec.protocol),
    )
    responses = [
        Response(index, decode_response(answerer.tokenizer, tokens, answerer.eos_ids), len(tokens))
        for index, tokens in enumerate(decoded)
    ]
    return read_responses(share, responses, answerer.spec)
