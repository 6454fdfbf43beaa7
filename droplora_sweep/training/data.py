"""Training sequences of a task: read as tokens, and dealt to workers in micro-batches.

The gradient of a global batch does not depend on how it is split: its loss is the sum over its
response tokens divided by their number, which every rank knows, because every rank computes the
same plan. So a global batch may be sorted by length to save padding.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
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
from droplora_sweep.spec.trial import PAD_MULTIPLE
from droplora_sweep.tasks.loading import load_task

from .schedule import steps_per_epoch
from .shared_sequences import read_shared
from .trainable import trainable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.context import PromptLengths
    from droplora_sweep.evaluation.prompting import Prompts
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.spec.task import TaskSpec
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks.task import Task

    from .trainable import TrainingData


MORE_STEPS = 2
"""Further micro-steps of a global batch that may be worth their while."""
STEP_TOKENS = 256
"""Tokens that take as long as a further micro-step's launches and collective, an assumption."""


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
    batch: Sequence[int],
    lengths: Sequence[int],
    world_size: int,
    micro_batch_size: int,
    micro_batch_tokens: int | None = None,
) -> list[list[list[int]]]:
    """Split one global batch over ranks and micro-batches.

    The longest sequences come first, so that running out of memory shows in the first
    micro-batch; neighbours in length share a micro-batch, which saves padding. Those of one
    micro-step have about as many tokens, padding included, on every rank: each one ends in a
    collective, in which all ranks wait for the slowest. Where that takes it, there are more of them
    than the limits ask for, each of which counts as `STEP_TOKENS`. With fewer sequences than ranks
    some are empty.

    Args:
        batch: Example numbers.
        lengths: Tokens of each example, by example number.
        world_size: Number of ranks.
        micro_batch_size: Upper bound of a micro-batch's sequences.
        micro_batch_tokens: Upper bound of its tokens with padding, of a single sequence's at least;
            None for no such bound.

    Returns:
        ``[rank][micro_step]`` to example numbers.
    """
    ordered = sorted(batch, key=lambda example: (-lengths[example], example))
    padded = [-(-lengths[one] // PAD_MULTIPLE) * PAD_MULTIPLE for one in ordered]
    deal = _Deal(padded, world_size, micro_batch_size)
    cap = micro_batch_tokens or deal.lengths[0] * len(ordered)
    fewest = -(-len(deal.sizes_within(cap)) // world_size)
    plans = [deal.steps(number, cap) for number in range(fewest, fewest + MORE_STEPS + 1)]
    sizes = min(plans, key=lambda plan: deal.tokens_waited_for(plan) + STEP_TOKENS * len(plan))
    taken = iter(ordered)
    chunks = [[list(islice(taken, size)) for size in step] for step in sizes]
    return [[step[rank] for step in chunks] for rank in range(world_size)]


@dataclass(frozen=True)
class _Deal:
    """Sequences to be dealt.

    Attributes:
        lengths: Tokens that each is padded to by itself, the longest first.
        world_size: Number of ranks.
        most: Sequences of a micro-batch, at most.
    """

    lengths: Sequence[int]
    world_size: int
    most: int

    def sizes_within(self, cap: int, start: int = 0) -> list[int]:
        """Return sizes of micro-batches of so many padded tokens at most, or of one sequence."""
        sizes = []
        while start < len(self.lengths):
            size = min(self.most, max(1, cap // self.lengths[start]), len(self.lengths) - start)
            sizes.append(size)
            start += size
        return sizes

    def steps(self, number: int, cap: int) -> list[list[int]]:
        """Return the sizes by micro-step and rank, as even as they can be in so many steps."""
        steps, start = [], 0
        for index in range(number):
            room = (number - index) * self.world_size
            least = bisect_left(range(cap), x=True, key=partial(self._fits, room, start))
            sizes = self.sizes_within(least, start)[: self.world_size]
            steps.append([*sizes, *[0] * (self.world_size - len(sizes))])
            start += sum(sizes)
        return steps

    def _fits(self, room: int, start: int, cap: int) -> bool:
        return len(self.sizes_within(cap, start)) <= room

    def tokens_waited_for(self, steps: Sequence[Sequence[int]]) -> int:
        """Return the padded tokens of the largest micro-batch of each step, added up."""
        total, start = 0, 0
        for sizes in steps:
            costs = [0]
            for size in sizes:
                if size:
                    costs.append(size * self.lengths[start])
                start += size
            total += max(costs)
        return total


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A task's examples.

    Attributes:
        key: The fields of a trial that it was made from.
        task: The task, without the texts of its training examples.
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
    before: Reading | None = None,
) -> Reading:
    """Load and tokenise a trial's task.

    A confirmation is scored otherwise than the search was, and trains on the same examples: what
    was read of these is used again.

    Args:
        spec: The trial.
        tokenizer: The model's.
        context: The most tokens the model can read; None for no limit.
        num_embedded: Token ids that the model has embeddings of; None where they are not counted.
        before: Reading of another trial by the same tokenizer; None where there is none.

    Raises:
        InputError: The task cannot be loaded, nothing of it fits, or it has a token that the model
            has no embedding of.
    """
    key = key_of(spec)
    if before is not None and before.key[:2] == key[:2]:
        task, prompts, data = before.task, before.prompts, before.data
    else:
        task = load_task(spec.task)
        prompts = prompts_of(tokenizer, task)
        data = _training_data(spec, task, prompts, tokenizer, num_embedded)
        task = task.without_training_texts()
    evaluation = spec.evaluation
    lengths = prompt_lengths(
        *(task, tokenizer, evaluation, context), prompts=prompts, split=evaluation.split
    )
    return Reading(key=key, task=task, prompts=prompts, data=data, lengths=lengths)


def _training_data(
    spec: TrialSpec,
    task: Task,
    prompts: Prompts,
    tokenizer: PreTrainedTokenizerBase,
    num_embedded: int | None,
) -> TrainingData:
    limit = spec.training.max_sequence_tokens

    def tokenise() -> TrainingData:
        sequences = prompts.encode(task.training_examples(), spec.task.loss_on)
        data = trainable(sequences, limit)
        if not data.sequences:
            problem = f"must leave some of {len(sequences)} training examples, got {limit}"
            raise InputError.of("training.max_sequence_tokens", problem)
        return data

    data = read_shared(spec, task, prompts, tokenizer, tokenise)
    highest = data.highest_token()
    if num_embedded is not None and highest >= num_embedded:
        problem = (
            f"must have an embedding of every token of the data, got {spec.model.path}, whose "
            f"embedding has {num_embedded:,} rows and none of "
            f"{tokenizer.convert_ids_to_tokens(highest)!r}"
        )
        raise InputError.of("model.path", problem)
    return data
