"""What is answered, and by what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from droplora_sweep.evaluation.context import num_new_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.generation import Generator
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.tasks import Benchmark, Example


@dataclass(frozen=True)
class Share:
    """One rank's examples of a benchmark's split; at least one, in the split's order.

    Attributes:
        benchmark: What they are of.
        examples: What is asked.
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
        eos_ids: Tokens that end a response; at least one.
        generator: Continues prompts.
        spec: How responses are made and read.
        answer_prefix: What a response says before its option, where options are scored.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    eos_ids: frozenset[int]
    generator: Generator
    spec: EvaluationSpec
    answer_prefix: str

    def num_new_tokens(self, benchmark: Benchmark) -> int:
        """The longest response to the benchmark's prompts."""
        return num_new_tokens(benchmark, self.spec)
