"""What a trial tells at each evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch.distributed as dist

from droplora_sweep.evaluation import count_unparsable, evaluate, score

from .device import gather_to_first, peak_memory_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation import ExampleResult
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks import Task

    from .loop import StepResult

_GB = 1e9


@dataclass(frozen=True)
class Report:
    """One evaluation of a trial.

    Attributes:
        evaluation: 1-based.
        num_evaluations: The last one comes at the end of training.
        step: Optimiser steps done.
        num_steps: Optimiser steps of the whole trial.
        metrics: ``val/mean`` and ``val/<benchmark>``; ``unparsable/<benchmark>``, the responses
            without an answer; since the report before, ``train/loss``
            (nats per response token), ``tokens_per_second`` (over all workers, without padding),
            ``train_seconds`` and ``evaluation_seconds``; ``learning_rate`` of the last step;
            ``peak_memory_gb`` of the worker that used most; ``trainable_parameters``.
        results: Every validation example with the response that was scored.
    """

    evaluation: int
    num_evaluations: int
    step: int
    num_steps: int
    metrics: dict[str, float]
    results: list[ExampleResult] = field(repr=False)


def training_metrics(steps: Sequence[StepResult]) -> dict[str, float]:
    """What the steps since the last report come to; at least one step."""
    seconds = sum(step.seconds for step in steps)
    num_response_tokens = sum(step.num_response_tokens for step in steps)
    loss = sum(step.loss * step.num_response_tokens for step in steps) / num_response_tokens
    return {
        "train/loss": loss,
        "tokens_per_second": sum(step.num_tokens for step in steps) / seconds,
        "learning_rate": steps[-1].learning_rate,
        "train_seconds": seconds,
    }


def validate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    evaluation: EvaluationSpec,
    device: torch.device,
) -> tuple[dict[str, float], list[ExampleResult]] | None:
    """Score the validation split, its examples spread over all ranks; a collective.

    Returns:
        The metrics that `Report` names of an evaluation, and every example's result, on rank 0;
        None elsewhere.
    """
    started_s = time.perf_counter()
    results = evaluate(
        model,
        tokenizer,
        task,
        evaluation,
        rank=dist.get_rank(),
        world_size=dist.get_world_size(),
    )
    gathered = gather_to_first((results, peak_memory_bytes(device)))
    if gathered is None:
        return None
    everything = [result for ours, _ in gathered for result in ours]
    metrics = {
        **{f"val/{name}": value for name, value in score(everything).items()},
        **{f"unparsable/{name}": float(n) for name, n in count_unparsable(everything).items()},
        "peak_memory_gb": max(peak for _, peak in gathered) / _GB,
        "evaluation_seconds": time.perf_counter() - started_s,
    }
    return metrics, everything
