"""Training sequences of a task: read as tokens, and dealt to workers in micro-batches.

The gradient of a global batch does not depend on how it is split: its loss is the sum over its
response tokens divided by their number, which every rank knows, because every rank computes the
same plan. So a global batch may be sorted by length to save padding.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.context import prompt_lengths
from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.spec.metric_names import (
    EMPTY_EXAMPLES,
    LONG_PROMPTS,
    OVERLONG_EXAMPLES,
    SHORTENED_EXAMPLES,
)
from droplora_sweep.tasks.loading import load_task

from .schedule import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.context import PromptLengths
    from droplora_sweep.evaluation.encoding import Encoded
    from droplora_sweep.evaluation.prompting import Prompts
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.spec.task import TaskSpec
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks.task import Task


@lru_cache(maxsize=2)
def epoch_order(num_examples: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of the examples; it depends on nothing but the arguments."""
    order = list(range(num_examples))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def global_batch(
    step: int, num_examples: int, global_batch_size: int, seed: int
) -> tuple[int, ...]:
    """The examples of one optimiser step (0-based), over all epochs.

    Each epoch is its own permutation cut into batches; an epoch's last batch is smaller if the
    batch size does not divide the number of examples.
    """
    epoch, index = divmod(step, steps_per_epoch(num_examples, global_batch_size))
    start = index * global_batch_size
    return epoch_order(num_examples, seed, epoch)[start : start + global_batch_size]


def split_batch(
    batch: Sequence[int], lengths: Sequence[int], world_size: int, micro_batch_size: int
) -> list[list[list[int]]]:
    """Split one global batch over ranks and micro-batches.

    The longest sequences come first, so that running out of memory shows in the first
    micro-batch; neighbours in length share a micro-batch, which saves padding, and a micro-step,
    which keeps the ranks in pace. Sizes differ by one at most. Every rank gets the same number of
    micro-batches, since each one ends in a collective; with fewer sequences than ranks some are
    empty.

    Args:
        batch: Example numbers.
        lengths: Tokens of each example, by example number.
        world_size: Number of ranks.
        micro_batch_size: Upper bound of a micro-batch.

    Returns:
        ``[rank][micro_step]`` to example numbers.
    """
    ordered = sorted(batch, key=lambda example: (-lengths[example], example))
    num_micro_steps = max(1, -(-len(ordered) // (world_size * micro_batch_size)))
    num_chunks = num_micro_steps * world_size
    ends = [len(ordered) * (index + 1) // num_chunks for index in range(num_chunks)]
    chunks = [ordered[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [chunks[rank::world_size] for rank in range(world_size)]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All sequences of a task for one tokenizer, in the task's order.

    Attributes:
        sequences: Those within the limit.
        num_overlong: Number of those left out because they exceed it.
        num_empty: Number of those left out because their response is empty or white space.
        num_shortened: Number of those that are trained on without their last turns, which exceed
            the limit.
    """

    sequences: tuple[Encoded, ...]
    num_overlong: int
    num_empty: int = 0
    num_shortened: int = 0


def trainable(sequences: Sequence[Encoded | None], max_tokens: int) -> TrainingData:
    """Return the sequences that can be trained on.

    Args:
        sequences: Examples with their responses; None for one without.
        max_tokens: A longer conversation ends with its last answer that fits; if none does, it is
            left out, not cut: a cut response is a wrong one, and a prompt that fills the sequence
            alone would leave nothing to learn.
    """
    given = [sequence for sequence in sequences if sequence is not None]
    fitting = [(one, fitted) for one in given if (fitted := one.up_to(max_tokens)) is not None]
    return TrainingData(
        tuple(fitted for _, fitted in fitting),
        num_overlong=len(given) - len(fitting),
        num_empty=len(sequences) - len(given),
        num_shortened=sum(one is not fitted for one, fitted in fitting),
    )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A task's examples.

    Attributes:
        key: The fields of a trial that it was made from.
        task: The task.
        data: Its training sequences.
        lengths: Of its validation prompts.
        prompts: How the model is asked.
    """

    key: tuple[TaskSpec, int, EvaluationSpec]
    task: Task
    prompts: Prompts
    data: TrainingData
    lengths: PromptLengths

    @property
    def left_out(self) -> dict[str, float]:
        """Metrics of what a trial does not train on, or reads in part."""
        shortened = self.data.num_shortened
        return {
            OVERLONG_EXAMPLES: float(self.data.num_overlong),
            **({SHORTENED_EXAMPLES: float(shortened)} if shortened else {}),
            EMPTY_EXAMPLES: float(self.data.num_empty),
            **{LONG_PROMPTS + name: float(n) for name, n in self.lengths.num_long.items()},
        }


def key_of(spec: TrialSpec) -> tuple[TaskSpec, int, EvaluationSpec]:
    """Return the fields of a trial that decide what it reads."""
    return spec.task, spec.training.max_sequence_tokens, spec.evaluation


def read(
    spec: TrialSpec,
    tokenizer: PreTrainedTokenizerBase,
    context: int | None,
    num_embedded: int | None = None,
) -> Reading:
    """Load and tokenise a trial's task.

    Args:
        spec: The trial.
        tokenizer: The model's.
        context: The most tokens the model can read; None for no limit.
        num_embedded: Token ids that the model has embeddings of; None where they are not counted.

    Raises:
        InputError: The task cannot be loaded, nothing of it fits, or it has a token that the model
            has no embedding of.
    """
    limit = spec.training.max_sequence_tokens
    task = load_task(spec.task)
    prompts = prompts_of(tokenizer, task)
    sequences = prompts.encode(task.training_examples(), spec.task.loss_on)
    data = trainable(sequences, limit)
    if not data.sequences:
        problem = f"must leave some of {len(sequences)} training examples, got {limit}"
        raise InputError.of("training.max_sequence_tokens", problem)
    highest = max(int(sequence.tokens.max()) for sequence in data.sequences)
    if num_embedded is not None and highest >= num_embedded:
        problem = (
            f"must have an embedding of every token of the data, got {spec.model.path}, whose "
            f"embedding has {num_embedded:,} rows and none of "
            f"{tokenizer.convert_ids_to_tokens(highest)!r}"
        )
        raise InputError.of("model.path", problem)
    lengths = prompt_lengths(
        *(task, tokenizer, spec.evaluation, context), prompts=prompts, split=spec.evaluation.split
    )
    return Reading(key=key_of(spec), task=task, prompts=prompts, data=data, lengths=lengths)
