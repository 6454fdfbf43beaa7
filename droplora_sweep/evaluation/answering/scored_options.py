"""Answers a closed set of options by their probabilities, without decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.evaluation.option_scoring import option_tokens, score_options

from .responses import Response, read_responses

if TYPE_CHECKING:
    from droplora_sweep.evaluation.results import ExampleResult

    from .share import Answerer, Share


def answer_by_probability(share: Share, answerer: Answerer) -> list[ExampleResult]:
    """The option that greedy decoding among the options alone would give, for each example."""
    options = [f"{answerer.answer_prefix}{option}" for option in share.benchmark.options]
    tokens = option_tokens(answerer.tokenizer, share.texts[0], options)
    scores = score_options(
        answerer.model,
        share.prompts,
        tokens,
        pad_id=min(answerer.eos_ids),
        batch_size=answerer.spec.batch_size,
        max_batch_tokens=answerer.spec.max_batch_tokens,
    )
    responses = [
        Response(
            index,
            options[one.chosen],
            len(tokens.prefix) + len(tokens.suffixes[one.chosen]),
            one.log_probabilities[one.chosen],
        )
        for index, one in enumerate(scores)
    ]
    return read_responses(share, responses, answerer.spec)
