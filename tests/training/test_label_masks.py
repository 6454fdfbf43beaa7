"""The loss is on the response and EOS, on nothing else, as TRL's completion-only masks have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.evaluation.encoding import encode_pairs
from droplora_sweep.evaluation.sequences import IGNORED, collate
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.spec import ModelSpec, TaskSpec
from droplora_sweep.spec.trial import PAD_MULTIPLE
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.trainable import trainable

from .conftest import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

CPU = torch.device("cpu")
NUM_REAL = 200
BATCH = 16

HAND_WRITTEN = [
    ("Is 2 even?\n", "yes"),
    ("### Response:", " Let's think step by step. 3 + 4 = 7\nThe answer is: 7"),
    ("two lines\n\n", "\n\nbegins with lines"),
    ("ends with a space ", "word"),
    ("no space", "joined"),
    ("é ö ß 漢字\n", "ñ 🙂"),
    ("a prompt\n", "x"),
    ("code:\n", "```python\ndef f():\n    return 1\n```"),
    ("the response names the prompt: ", "the response names the prompt: "),
]


@pytest.fixture(scope="module", params=["built-in", "bytes"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return load_tokenizer(ModelSpec()) if request.param == "built-in" else make_tokenizer()


@pytest.fixture(scope="module")
def real(benchmark_files: Path) -> list[tuple[str, str]]:
    """The first 100 of ARC-Easy's and of GSM8K's training examples, by stable order."""
    pairs = []
    for name, place in (("arc_easy", "commonsense"), ("gsm8k", "math")):
        spec = TaskSpec(
            benchmarks=(name,), data=str(benchmark_files / place), num_train=NUM_REAL // 2
        )
        (benchmark,) = load_task(spec).benchmarks
        pairs += [(benchmark.render_prompt(one), one.output) for one in benchmark.train]
    assert len(pairs) == NUM_REAL
    return pairs


def masked(
    tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and labels of micro-batches, as the training loop makes them; a label per input."""
    data = trainable(encode_pairs(tokenizer, pairs), max_tokens=100_000)
    assert len(data.sequences) == len(pairs)
    batches = []
    for start in range(0, len(pairs), BATCH):
        micro = collate(data.sequences[start : start + BATCH], tokenizer.pad_token_id, CPU)
        labels = torch.full_like(micro.inputs, IGNORED)
        # The logits at a kept position predict the token behind it.
        labels[:, micro.kept + 1] = micro.labels
        batches.append((micro.inputs, labels))
    return batches


def check_masks(tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]]) -> None:
    rows = [row for batch in masked(tokenizer, pairs) for row in zip(*batch, strict=True)]
    for (prompt, response), (inputs, labels) in zip(pairs, rows, strict=True):
        counted = labels != IGNORED
        num_prompt, num_counted = len(tokenizer(prompt)["input_ids"]), int(counted.sum())
        assert counted.nonzero().flatten().tolist() == [
            num_prompt + index for index in range(num_counted)
        ]
        assert torch.equal(labels[counted], inputs[counted])
        assert labels[counted][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(labels[counted][:-1]) == response
        assert inputs[:num_prompt].tolist() == tokenizer(prompt)["input_ids"]


def is_joined(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> bool:
    start = tokenizer(prompt)["input_ids"]
    return tokenizer(prompt + response)["input_ids"][: len(start)] != start


def test_masks_of_hand_written_examples(tokenizer: PreTrainedTokenizerBase) -> None:
    check_masks(tokenizer, HAND_WRITTEN)


def test_masks_of_real_examples(
    tokenizer: PreTrainedTokenizerBase, real: list[tuple[str, str]]
) -> None:
    check_masks(tokenizer, real)


@pytest.mark.slow
def test_masks_are_those_of_trl(
    tokenizer: PreTrainedTokenizerBase, real: list[tuple[str, str]], tmp_path: Path
) -> None:
    """TRL's own preparation and collation of prompt-completion records.

    Where the tokenizer joins the prompt's last letters with the response's first, TRL trains on
    the joined tokens, behind a prompt that no evaluation gives; these examples are left out.
    """
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    pairs = [pair for pair in [*HAND_WRITTEN, *real] if not is_joined(tokenizer, *pair)]
    assert len(pairs) >= NUM_REAL + 6
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    trainer = SFTTrainer(
        model=LlamaForCausalLM(config),
        args=SFTConfig(
            output_dir=str(tmp_path),
            completion_only_loss=True,
            max_length=None,
            pad_to_multiple_of=PAD_MULTIPLE,
            bf16=False,
            use_cpu=True,
            report_to="none",
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": prompt, "completion": response} for prompt, response in pairs]
        ),
        processing_class=tokenizer,
    )
    for number, (inputs, labels) in enumerate(masked(tokenizer, pairs)):
        some = range(number * BATCH, min((number + 1) * BATCH, len(pairs)))
        theirs = trainer.data_collator([trainer.train_dataset[index] for index in some])
        assert torch.equal(labels, theirs["labels"])
        own = torch.arange(inputs.shape[1]) < theirs["attention_mask"].sum(1, keepdim=True)
        assert torch.equal(inputs[own], theirs["input_ids"][own])
