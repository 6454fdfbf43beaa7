"""What a trial reads: its task for one tokenizer, in tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.evaluation.context import prompt_lengths
from droplora_sweep.tasks import load_task

from .data import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.context import PromptLengths
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.spec.task import TaskSpec
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks import Task

    from .data import TrainingData


@dataclass(frozen=True)
class Reading:
    """A task's examples.

    Attributes:
        key: What it was made from.
        task: The task.
        data: Its training sequences.
        lengths: Of its validation prompts.
    """

    key: tuple[TaskSpec, int, EvaluationSpec]
    task: Task
    data: TrainingData
    lengths: PromptLengths

    @property
    def left_out(self) -> dict[str, float]:
        """Metrics of what a trial does not train on, or reads in part."""
        return {
            "overlong_examples": float(self.data.num_overlong),
            "empty_examples": float(self.data.num_empty),
            **{f"long_prompts/{name}": float(n) for name, n in self.lengths.num_long.items()},
        }


def key_of(spec: TrialSpec) -> tuple[TaskSpec, int, EvaluationSpec]:
    """What of a trial decides what it reads."""
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
    pairs = [
        (source.render_prompt(example), example.output)
        for source, example in task.training_examples()
    ]
    data = encode(tokenizer, pairs, limit)
    if not data.sequences:
        problem = f"must leave some of {len(pairs)} training examples, got {limit}"
        raise InputError([Fault("", "training.max_sequence_tokens", problem)])
    highest = max(int(sequence.tokens.max()) for sequence in data.sequences)
    if num_embedded is not None and highest >= num_embedded:
        problem = (
            f"must have an embedding of every token of the data, got {spec.model.path}, whose "
            f"embedding has {num_embedded:,} rows and none of "
            f"{tokenizer.convert_ids_to_tokens(highest)!r}"
        )
        raise InputError([Fault("", "model.path", problem)])
    lengths = prompt_lengths(task, tokenizer, spec.evaluation, context, split=spec.evaluation.split)
    return Reading(key_of(spec), task, data, lengths)
