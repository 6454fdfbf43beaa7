"""A model's answers to a benchmark: decoded, drawn, chosen by probability, or turn by turn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from droplora_sweep.scorers.scorer import Response, ScoringError, read_responses

from .context import fitted_prompts, model_context, num_new_tokens
from .generation import Sampling, decode_response, sample_seed
from .judging.grading import conversation_of, rate
from .option_scoring import option_tokens, score_options, score_with_references
from .results import ExampleResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.spec.evaluation import EvaluationSpec, JudgeSpec, SamplingSpec
    from droplora_sweep.tasks.task import Benchmark, Example

    from .generation import Generator
    from .judging.grading import Rating
    from .option_scoring import OptionTokens
    from .prompting import Prompts


@dataclass(frozen=True)
class Share:
    """One rank's examples of a benchmark's split; at least one, in the split's order.

    Attributes:
        benchmark: The data set.
        examples: Its examples.
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
        prompts: How it is asked.
        eos_ids: Tokens that end a response; at least one.
        generator: Continues prompts.
        spec: Settings by which responses are made and read.
        answer_prefix: Text before an option in a response, where options are scored.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    prompts: Prompts
    eos_ids: frozenset[int]
    generator: Generator
    spec: EvaluationSpec
    answer_prefix: str


def answer_by_decoding(
    share: Share, answerer: Answerer, sampling: SamplingSpec | None = None
) -> list[ExampleResult]:
    """Give the most likely response to each example, or samples, one after the other."""
    num_samples = 1 if sampling is None else sampling.num_samples
    places = [
        (index, sample) for index in range(len(share.examples)) for sample in range(num_samples)
    ]
    drawn = None
    if sampling is not None:
        seeds = [sample_seed(share.examples[index].digest, sample) for index, sample in places]
        drawn = Sampling(sampling.temperature, sampling.top_p, tuple(seeds))
    decoded = answerer.generator.generate(
        [share.prompts[index] for index, _ in places],
        max_new_tokens=num_new_tokens(share.benchmark, answerer.spec),
        stop=share.benchmark.scorer.stop_rule(answerer.spec.protocol),
        sampling=drawn,
    )
    responses = [
        _Response(
            index,
            decode_response(answerer.tokenizer, tokens, answerer.eos_ids),
            len(tokens),
            sample=sample,
        )
        for (index, sample), tokens in zip(places, decoded, strict=True)
    ]
    return _read(share, responses, answerer.spec)


def answer_by_probability(share: Share, answerer: Answerer) -> list[ExampleResult]:
    """Give the option that greedy decoding among the options alone would give."""
    options = [
        f"{answerer.answer_prefix}{option}" for option in share.benchmark.scorer.closed_answers
    ]
    responses_of = answerer.prompts.responses
    tokens = option_tokens(
        responses_of(share.benchmark, share.examples[0], options), answerer.prompts.end_id
    )
    batch_size, max_batch_tokens = answerer.spec.batch_size, answerer.spec.max_batch_tokens
    likelihoods: list[float | None] = [None] * len(share.examples)
    if answerer.spec.likelihood and _are_options_references(share, options, tokens):
        both = score_with_references(
            answerer.model,
            share.prompts,
            tokens,
            [options.index(example.output) for example in share.examples],
            eos_id=answerer.prompts.end_id,
            batch_size=batch_size,
            max_batch_tokens=max_batch_tokens,
        )
        scores, likelihoods = [one for one, _ in both], [one for _, one in both]
    else:
        scores = score_options(
            answerer.model,
            share.prompts,
            tokens,
            pad_id=min(answerer.eos_ids),
            batch_size=batch_size,
            max_batch_tokens=max_batch_tokens,
        )
    responses = [
        _Response(
            index,
            options[one.chosen],
            len(tokens.prefix) + len(tokens.suffixes[one.chosen]),
            one.log_probabilities[one.chosen],
        )
        for index, one in enumerate(scores)
    ]
    results = _read(share, responses, answerer.spec)
    return [
        result
        if likelihood is None
        else replace(
            result,
            reference_log_probability=likelihood,
            reference_bytes=len(example.output.encode()),
        )
        for result, example, likelihood in zip(results, share.examples, likelihoods, strict=True)
    ]


def _are_options_references(share: Share, options: Sequence[str], tokens: OptionTokens) -> bool:
    """Return True where one pass gives both: references are options that differ in one token."""
    differ_in_one = all(len(suffix) == 1 for suffix in tokens.suffixes)
    return differ_in_one and all(example.output in options for example in share.examples)


def answer_and_rate(share: Share, answerer: Answerer, judge: JudgeSpec) -> list[ExampleResult]:
    """Answer each turn of each example, and have the answers rated.

    A later turn's prompt is the conversation so far (see ``Prompts.turn``), with the
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
    context = model_context(answerer.model)
    while asked:
        decoded = answerer.generator.generate(
            prompts, max_new_tokens=num_new_tokens(share.benchmark, answerer.spec), stop=None
        )
        for index, text, tokens in zip(asked, texts, decoded, strict=True):
            answer = decode_response(answerer.tokenizer, tokens, answerer.eos_ids).strip()
            said[index].append(_Said(text, answer, len(tokens)))
        asked = [index for index in asked if len(said[index]) < len(share.examples[index].turns)]
        texts = [
            answerer.prompts.turn(
                share.benchmark, share.examples[index], [one.answer for one in said[index]]
            )
            for index in asked
        ]
        # Each has grown by an answer.
        prompts = fitted_prompts(
            answerer.tokenizer,
            answerer.prompts,
            texts,
            share.benchmark,
            answerer.spec,
            context,
            policy="truncate",
        ).prompts
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


@dataclass(frozen=True)
class _Response:
    """Response to the share's example of this index; its fields are those of ``ExampleResult``."""

    index: int
    text: str
    num_tokens: int
    log_probability: float | None = None
    sample: int = 0


def _read(
    share: Share, responses: Sequence[_Response], spec: EvaluationSpec
) -> list[ExampleResult]:
    """Every response's result, in the responses' order.

    Raises:
        ScoringError: A user's scorer cannot score them; names the benchmark.
    """
    examples = [share.examples[response.index] for response in responses]
    try:
        answers = read_responses(
            share.benchmark.scorer,
            [
                Response(
                    response.text,
                    example.answer,
                    example.digest,
                    share.texts[response.index],
                    example.preamble or "",
                )
                for example, response in zip(examples, responses, strict=True)
            ],
            spec.protocol,
            allow_unsandboxed_code=spec.allow_unsandboxed_code,
        )
    except ScoringError as error:
        raise ScoringError(f"{share.benchmark.name} cannot be scored: {error}") from error
    return [
        ExampleResult(
            benchmark=share.benchmark.name,
            example_id=example.digest,
            response=response.text,
            prediction=answer.prediction,
            gold=example.answer,
            correct=answer.correct,
            credit=answer.credit,
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
