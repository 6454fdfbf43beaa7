"""Optimiser steps of one trial, from a plan that every rank computes for itself."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn

from droplora_sweep.errors import TrialError
from droplora_sweep.evaluation.sequences import IGNORED, collate

from .data import global_batch, split_batch
from .device import sum_over_ranks
from .schedule import learning_rate, num_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.adapters.adapted import Adapted
    from droplora_sweep.evaluation.encoding import Encoded
    from droplora_sweep.spec.trial import TrialSpec

    from .engine import TrialEngine
    from .trainable import TrainingData


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Result of one optimiser step.

    Attributes:
        loss: Mean over the global batch's response tokens, in nats; before the update.
        num_response_tokens: Number of these tokens.
        num_tokens: All tokens of the global batch, without padding.
        learning_rate: Learning rate that was applied.
        seconds: Wall time on this rank.
    """

    loss: float
    num_response_tokens: int
    num_tokens: int
    learning_rate: float
    seconds: float


def response_loss(logits_BKV: torch.Tensor, label_BK: torch.Tensor) -> torch.Tensor:
    """Sum of the cross-entropies of all counted tokens, in fp32."""
    return nn.functional.cross_entropy(
        logits_BKV.float().flatten(0, 1),
        label_BK.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of a rank's dropout and token masks at one step, so that a step can be run again."""
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Loop:
    """Trains what a trial adapted, step by step.

    Args:
        adapted: The adapted model, for its step masks.
        engine: The engine over it.
        data: Training data.
        spec: The trial.
        pad_token_id: For padding.
        device: Device that it trains on.
    """

    def __init__(
        self,
        *,
        adapted: Adapted,
        engine: TrialEngine,
        data: TrainingData,
        spec: TrialSpec,
        pad_token_id: int,
        device: torch.device,
    ) -> None:
        self._adapted = adapted
        self._engine = engine
        self._sequences = data.sequences
        self._lengths = [len(sequence.tokens) for sequence in data.sequences]
        self._spec = spec
        self._pad_token_id = pad_token_id
        self._device = device
        self.num_steps = num_steps(len(data.sequences), spec.training)
        self.num_epochs = spec.training.epochs

    def run_step(self, step: int) -> StepResult:
        """Take one optimiser step (0-based); every rank takes part.

        Raises:
            TrialError: The loss or the gradient is not finite; on every rank.
        """
        started_s = time.perf_counter()
        training, seed = self._spec.training, self._spec.seed
        batch, micro_batches = self._batch(step)
        num_response_tokens = sum(self._sequences[index].num_response_tokens for index in batch)

        torch.manual_seed(step_seed(seed, step, dist.get_rank()))
        self._adapted.set_step(step, self.num_steps)
        self._adapted.model.train()
        loss = torch.zeros((), dtype=torch.float64, device=self._device)
        for micro_batch in micro_batches:
            some = [self._sequences[index] for index in micro_batch]
            loss += self._backward(some, self._sequences[batch[0]], num_response_tokens)
        rate = learning_rate(step, self.num_steps, training)
        mean_loss = sum_over_ranks(loss)
        self._require_finite("loss", mean_loss, step)
        self._require_finite("gradient norm", self._engine.step(rate), step)
        return StepResult(
            loss=mean_loss,
            num_response_tokens=num_response_tokens,
            num_tokens=sum(self._lengths[index] for index in batch),
            learning_rate=rate,
            seconds=time.perf_counter() - started_s,
        )

    def inputs(self, num_steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """This rank's examples of the first steps, by micro-batch.

        Yields:
            Token ids (batch, tokens) and whether each is a token of the example, not padding.
        """
        for step in range(num_steps):
            for micro_batch in filter(None, self._batch(step)[1]):
                some = [self._sequences[index] for index in micro_batch]
                inputs = collate(some, self._pad_token_id, self._device).inputs
                length_B1 = torch.tensor([[len(one.tokens)] for one in some], device=self._device)
                yield inputs, torch.arange(inputs.shape[1], device=self._device) < length_B1

    def _batch(self, step: int) -> tuple[tuple[int, ...], list[list[int]]]:
        """A step's examples: of all ranks, and of this one by micro-batch."""
        training = self._spec.training
        size, seed = training.global_batch_size, self._spec.seed
        batch = global_batch(step, len(self._sequences), size, seed)
        per_rank = split_batch(
            batch,
            self._lengths,
            dist.get_world_size(),
            training.sequences_at_once,
            training.micro_batch_tokens,
        )
        return batch, per_rank[dist.get_rank()]

    def _backward(
        self, sequences: list[Encoded], filler: Encoded, num_response_tokens: int
    ) -> torch.Tensor:
        """Add one micro-batch's share of the gradient; its share of the mean loss is returned.

        A rank without a sequence runs the filler without a loss, for the sake of the collective.
        """
        micro = collate(
            sequences or [filler], self._pad_token_id, self._device, counted=bool(sequences)
        )
        # No attention mask: padding lies behind every counted token, and attention is causal.
        output = self._engine(input_ids=micro.inputs, logits_to_keep=micro.kept, use_cache=False)
        loss = response_loss(output.logits, micro.labels) / num_response_tokens
        self._engine.backward(loss)
        return loss.detach()

    def _require_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            rate = self._spec.training.learning_rate
            raise TrialError(
                f"{what} is {value} at step {step + 1} of {self.num_steps}; "
                f"a lower learning rate than {rate:g} may help"
            )
