"""Answers both turns of a conversation, and has a judge rate the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.evaluation.context import fit_prompts, model_context, prompt_limit
from droplora_sweep.evaluation.generation import decode_response
from droplora_sweep.evaluation.judging.questions import conversation_of, rate
from droplora_sweep.evaluation.prompt_tokens import prompt_tokens
from droplora_sweep.evaluation.results import ExampleResult

from .responses import prompt_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.evaluation.judging import Rating
    from droplora_sweep.spec.judge import JudgeSpec
    from droplora_sweep.tasks import Example

    from .share import Answerer, Share

NUM_TURNS = 2


def answer_and_rate(share: Share, answerer: Answerer, judge: JudgeSpec) -> list[ExampleResult]:
    """Two results per example, one for each turn.

    The second turn's prompt is the conversation so far (see ``Benchmark.render_turn``), with the
    model's own first answer. Where the context cannot hold it its beginning is cut off, whatever
    ``evaluation.on_long_prompt`` says: to drop it would be to drop the first turn's rating too.

    Args:
        share: Of a benchmark whose examples have two turns each.
        answerer: The model.
        judge: Rates, within its limits.
    """
    texts, answers, lengths = list(share.texts), [], []
    prompts: Sequence[Sequence[int]] = share.prompts
    asked = [texts]
    for turn in range(NUM_TURNS):
        decoded = answerer.generator.generate(
            prompts, max_new_tokens=answerer.num_new_tokens(share.benchmark), stop=None
        )
        lengths.append([len(tokens) for tokens in decoded])
        answers.append(
            [
                decode_response(answerer.tokenizer, tokens, answerer.eos_ids).strip()
                for tokens in decoded
            ]
        )
        if turn + 1 < NUM_TURNS:
            said = list(zip(*answers, strict=True))
            asked.append(
                [
                    share.benchmark.render_turn(example, so_far)
                    for example, so_far in zip(share.examples, said, strict=True)
                ]
            )
            prompts = _fitted(share, answerer, asked[-1])
    both = list(zip(*answers, strict=True))
    ratings = rate(
        [
            conversation_of(index, example, (first, second), judge)
            for index, (example, (first, second)) in enumerate(
                zip(share.examples, both, strict=True)
            )
        ],
        judge,
    )
    return [
        _result(
            share,
            example,
            rating,
            asked[rating.turn - 1][index],
            answers[rating.turn - 1][index],
            lengths[rating.turn - 1][index],
            answerer.spec.protocol,
        )
        for index, example in enumerate(share.examples)
        for rating in ratings[NUM_TURNS * index : NUM_TURNS * (index + 1)]
    ]


def _fitted(share: Share, answerer: Answerer, texts: list[str]) -> list[list[int]]:
    """Token ids of a later turn's prompts, which have grown by an answer."""
    prompts = prompt_tokens(answerer.tokenizer, texts)
    limit = prompt_limit(model_context(answerer.model), share.benchmark, answerer.spec)
    bos_id = answerer.tokenizer.bos_token_id
    return fit_prompts(prompts, limit, "truncate", bos_id=bos_id).prompts


def _result(
    share: Share,
    example: Example,
    rating: Rating,
    prompt: str,
    answer: str,
    num_tokens: int,
    protocol: str,
) -> ExampleResult:
    return ExampleResult(
        benchmark=share.benchmark.name,
        example_id=example.digest,
        response=answer,
        prediction=None,
        gold=example.answer,
        correct=None,
        num_tokens=num_tokens,
        protocol=protocol,
        prompt_digest=prompt_digest(prompt),
        turn=rating.turn,
        rating=rating.rating,
        note=rating.reason,
    )
