"""An evaluation of a trial while it trains: scores, loss, and what the model forgets."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from droplora_sweep.evaluation.evaluator import evaluate
from droplora_sweep.evaluation.generation import only_read
from droplora_sweep.evaluation.held_out import forgetting_metrics, read_held_out_text
from droplora_sweep.evaluation.perplexity import TextLoss, text_loss
from droplora_sweep.evaluation.reported import reported_metrics
from droplora_sweep.evaluation.results import result_metrics
from droplora_sweep.scorers.scorer import ScoringError
from droplora_sweep.spec.metric_names import (
    EVALUATION_SECONDS,
    LEARNING_RATE,
    PEAK_MEMORY_GB,
    TOKENS_PER_SECOND,
    TRAIN_LOSS,
    TRAIN_SECONDS,
)

from .device import first_over_ranks, gather_to_first, peak_memory_bytes, sum_over_ranks

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.generation import Generator
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks.task import Task

    from .loop import StepResult


@dataclass(frozen=True)
class Scored:
    """Scores of a model that was not trained; of rank 0, empty elsewhere.

    Attributes:
        results: Every example's.
        metrics: Result of `validate`, and the number of prompts that are too long, where the text
            around the examples is looked at too.
    """

    results: list[ExampleResult] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOut:
    """A text, and its perplexity under the base model.

    Attributes:
        path: Of its file.
        text: Content of the file.
        before: The perplexity under the base model, of all ranks' windows.
    """

    path: str
    text: str = field(repr=False)
    before: float


InStep = Callable[[], AbstractContextManager[None]]
"""Makes the context in which ranks may run different numbers of forward passes, with no other
collective in it (see `models.sharding`); `nullcontext` where ranks need not agree."""


def read_before(
    path: str,
    base: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    in_step: InStep = nullcontext,
) -> HeldOut:
    """Read a text, and the perplexity the untuned base model gives it; a collective.

    Raises:
        InputError: The text cannot be read.
    """
    text = read_held_out_text(path).text
    return HeldOut(path, text, _loss(base, tokenizer, text, in_step).perplexity)


def forgetting(
    held_out: HeldOut,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    in_step: InStep = nullcontext,
) -> dict[str, float]:
    """See ``forgetting_metrics``; a collective, which gives them on every rank."""
    after = _loss(model, tokenizer, held_out.text, in_step).perplexity
    return forgetting_metrics(held_out.before, after)


def _loss(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, text: str, in_step: InStep
) -> TextLoss:
    """The loss of the whole text, of which each rank reads its share."""
    with only_read(model), in_step():
        share = text_loss(
            model, tokenizer, text, rank=dist.get_rank(), world_size=dist.get_world_size()
        )
    device = next(model.parameters()).device
    nats = sum_over_ranks(torch.tensor(share.nats, dtype=torch.float64, device=device))
    return TextLoss(nats, round(sum_over_ranks(torch.tensor(share.num_tokens, device=device))))


_GB = 1e9


@dataclass(frozen=True)
class Report:
    """An evaluation, and what it was made from; on rank 0.

    Attributes:
        evaluation: The evaluation. Its metrics are those of ``result_metrics``, of the held-out
            text where there is one, and `Trained`'s; `LateLoss`'s at the end of training.
        results: Every example with the response that was scored.
    """

    evaluation: Evaluation
    results: list[ExampleResult] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Sums over the steps since the last report, whichever processes ran them.

    Attributes:
        loss: Sum over their response tokens, in nats.
        num_response_tokens: Number of these tokens.
        num_tokens: All tokens, without padding.
        seconds: Wall time of the steps.
        learning_rate: Of the last one.
    """

    loss: float = 0.0
    num_response_tokens: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0

    def plus(self, step: StepResult) -> Trained:
        """Return it with one step more."""
        return Trained(
            loss=self.loss + step.loss * step.num_response_tokens,
            num_response_tokens=self.num_response_tokens + step.num_response_tokens,
            num_tokens=self.num_tokens + step.num_tokens,
            seconds=self.seconds + step.seconds,
            learning_rate=step.learning_rate,
        )

    def metrics(self) -> dict[str, float]:
        """Of at least one step."""
        return {
            TRAIN_LOSS: self.loss / self.num_response_tokens,
            TOKENS_PER_SECOND: self.num_tokens / self.seconds,
            LEARNING_RATE: self.learning_rate,
            TRAIN_SECONDS: self.seconds,
        }


def validate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    evaluation: EvaluationSpec,
    device: torch.device,
    *,
    held_out: HeldOut | None = None,
    generator: Generator | None = None,
    in_step: InStep = nullcontext,
) -> tuple[dict[str, float], list[ExampleResult]] | None:
    """Score the examples of ``evaluation.split``, spread over all ranks; a collective.

    Args:
        model: The model.
        tokenizer: The model's.
        task: The task, with its examples.
        evaluation: Protocol of the evaluation.
        device: Device whose memory is measured.
        held_out: A text whose perplexity is measured too.
        generator: Decodes in the model's place.
        in_step: Keeps ranks in step where they must run as many forward passes as each other.

    Returns:
        Metrics, and every example's result, on rank 0; None elsewhere.

    Raises:
        ScoringError: A user's scorer cannot score a rank's responses; on every rank.
    """
    started_s = time.perf_counter()
    results: list[ExampleResult] = []
    problem = None
    try:
        with only_read(model), in_step():
            results = evaluate(
                model,
                tokenizer,
                task,
                evaluation,
                split=evaluation.split,
                rank=dist.get_rank(),
                world_size=dist.get_world_size(),
                generator=generator,
            )
    except ScoringError as error:
        problem = str(error)
    # The others would wait for this rank's results for ever.
    if (found := first_over_ranks(problem)) is not None:
        raise ScoringError(found)
    forgotten = {} if held_out is None else forgetting(held_out, model, tokenizer, in_step)
    gathered = gather_to_first((results, peak_memory_bytes(device)))
    if gathered is None:
        return None
    everything = [result for ours, _ in gathered for result in ours]
    metrics = {
        **result_metrics(everything, evaluation.sampling, evaluation.split),
        **reported_metrics(task, everything, evaluation.split),
        **forgotten,
        PEAK_MEMORY_GB: max(peak for _, peak in gathered) / _GB,
        EVALUATION_SECONDS: time.perf_counter() - started_s,
    }
    return metrics, everything
