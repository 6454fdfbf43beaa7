"""Answers by decoding, by drawing, by options' probabilities, and turn by turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.evaluation.context import (
    fit_prompts,
    model_context,
    prompt_limit,
    prompt_tokens,
)
from droplora_sweep.evaluation.generation import Sampling, decode_response, sample_seed
from droplora_sweep.evaluation.judging.questions import conversation_of, rate
from droplora_sweep.evaluation.option_scoring import option_tokens, score_options
from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.evaluation.stopping import stop_rule

from .responses import Response, prompt_digest, read_responses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.evaluation.judging.conversations import Rating
    from droplora_sweep.spec.evaluation import JudgeSpec, SamplingSpec
    from droplora_sweep.tasks.task import Example

    from .responses import Answerer, Share


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


def answer_and_rate(share: Share, answerer: Answerer, judge: JudgeSpec) -> list[ExampleResult]:
    """One result per turn of each example.

    A later turn's prompt is the conversation so far (see ``Benchmark.render_turn``), with the
    model's own answers. Where the context cannot hold it its beginning is cut off, whatever
    ``evaluation.on_long_prompt`` says: to drop it would be to drop the first turn's rating too.

    Args:
        share: Of a benchmark whose examples have one turn or two each.
        answerer: The model.
        judge: Rates, within its limits.
    """
    said: list[list[_Said]] = [[] for _ in share.examples]
    texts: list[str] = list(share.texts)
    prompts: Sequence[Sequence[int]] = share.prompts
    asked = list(range(len(share.examples)))
    while asked:
        decoded = answerer.generator.generate(
            prompts, max_new_tokens=answerer.num_new_tokens(share.benchmark), stop=None
        )
        for index, text, tokens in zip(asked, texts, decoded, strict=True):
            answer = decode_response(answerer.tokenizer, tokens, answerer.eos_ids).strip()
            said[index].append(_Said(text, answer, len(tokens)))
        asked = [index for index in asked if len(said[index]) < len(share.examples[index].turns)]
        texts = [
            share.benchmark.render_turn(share.examples[index], [one.answer for one in said[index]])
            for index in asked
        ]
        prompts = _fitted(share, answerer, texts) if asked else []
    answers = [tuple(one.answer for one in turns) for turns in said]
    conversations = [
        conversation_of(index, example, answers[index], judge)
        for index, example in enumerate(share.examples)
    ]
    ratings = iter(rate(conversations, judge))
    return [
        _result(share, example, next(ratings), turn, answerer.spec.protocol)
        for example, turns in zip(share.examples, said, strict=True)
        for turn in turns
    ]


@dataclass(frozen=True)
class _Said:
    """A prompt, the model's answer to it, and the answer's number of tokens."""

    prompt: str
    answer: str
    num_tokens: int


def _fitted(share: Share, answerer: Answerer, texts: list[str]) -> list[list[int]]:
    """Token ids of a later turn's prompts, which have grown by an answer."""
    prompts = prompt_tokens(answerer.tokenizer, texts)
    tokenizer, context = answerer.tokenizer, model_context(answerer.model)
    limit = prompt_limit(context, share.benchmark, answerer.spec, tokenizer)
    bos_id = tokenizer.bos_token_id
    return fit_prompts(prompts, limit, "truncate", bos_id=bos_id).prompts


def _result(
    share: Share, example: Example, rating: Rating, said: _Said, protocol: str
) -> ExampleResult:
    return ExampleResult(
        benchmark=share.benchmark.name,
        example_id=example.digest,
        response=said.answer,
        prediction=None,
        gold=example.answer,
        correct=None,
        num_tokens=said.num_tokens,
        protocol=protocol,
        prompt_digest=prompt_digest(said.prompt),
        turn=rating.turn,
        rating=rating.rating,
        note=rating.reason,
    )
