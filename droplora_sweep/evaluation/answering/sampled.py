"""Answers by drawing several responses to each prompt, for pass@k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.evaluation.generation import decode_response
from droplora_sweep.evaluation.sampling import Sampling, sample_seed
from droplora_sweep.evaluation.stopping import stop_rule

from .responses import Response, read_responses

if TYPE_CHECKING:
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.spec.evaluation import SamplingSpec

    from .share import Answerer, Share


def answer_by_sampling(
    share: Share, answerer: Answerer, sampling: SamplingSpec
) -> list[ExampleResult]:
    """``sampling.num_samples`` responses to each example, an example's one after the other."""
    places = [
        (index, sample)
        for index in range(len(share.examples))
        for sample in range(sampling.num_samples)
    ]
    seeds = [sample_seed(share.examples[index].digest, sample) for index, sample in places]
    decoded = answerer.generator.generate(
        [share.prompts[index] for index, _ in places],
        max_new_tokens=answerer.num_new_tokens(share.benchmark),
        stop=stop_rule(share.benchmark, answerer.spec.protocol),
        sampling=Sampling(sampling.temperature, sampling.top_p, tuple(seeds)),
    )
    responses = [
        Response(
            index,
            decode_response(answerer.tokenizer, tokens, answerer.eos_ids),
            len(tokens),
            sample=sample,
        )
        for (index, sample), tokens in zip(places, decoded, strict=True)
    ]
    return read_responses(share, responses, answerer.spec)
