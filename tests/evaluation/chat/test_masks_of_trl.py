"""The counted tokens of real conversations are those of TRL's assistant-only loss."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.evaluation.chat_template import ChatTemplate

from .conftest import TEMPLATES, make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.tasks.task import Message

SMOLLM2 = Path(os.environ.get("DROPLORA_TEST_SMOLLM2", "models/smollm2-135m"))
MARKED = {"chatml": "chatml_marked", "llama": "llama_marked", "mistral": "mistral_marked"}

needs_smollm2 = pytest.mark.skipif(
    not (SMOLLM2 / "model.safetensors").is_file(),
    reason="`make smollm2` was not run, nor does DROPLORA_TEST_SMOLLM2 name what it makes",
)


def labels_of_trl(
    tokenizer: Any, conversations: Sequence[Sequence[Message]], folder: Path
) -> list[tuple[list[int], list[int]]]:
    """Tokens and labels of TRL's own trainer with ``assistant_only_loss``."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

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
            output_dir=str(folder),
            assistant_only_loss=True,
            max_length=None,
            bf16=False,
            use_cpu=True,
            report_to="none",
        ),
        train_dataset=Dataset.from_list(
            [{"messages": [one._asdict() for one in messages]} for messages in conversations]
        ),
        processing_class=tokenizer,
    )
    found = []
    for row in trainer.train_dataset:
        [labels] = trainer.data_collator([row])["labels"].tolist()
        found.append((row["input_ids"], labels[: len(row["input_ids"])]))
    return found


def check(tokenizer: Any, of_trl: Any, conversations: Any, folder: Path) -> None:
    """Compare each conversation, whose rest behind the last answer is not part of ours."""
    ours = ChatTemplate(tokenizer).encode(conversations, "all_turns")
    num_turns = 0
    for sequence, (tokens, labels) in zip(
        ours, labels_of_trl(of_trl, conversations, folder), strict=True
    ):
        assert sequence is not None
        length = len(sequence.tokens)
        assert sequence.tokens.tolist() == tokens[:length]
        assert sequence.is_counted.tolist() == [label != -100 for label in labels[:length]]
        assert set(labels[length:]) <= {-100}
        num_turns += sum(
            later and not earlier
            for earlier, later in zip(sequence.is_counted, sequence.is_counted[1:], strict=False)
        )
    assert num_turns > len(conversations)


@pytest.mark.slow
@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("kind", MARKED)
def test_masks_of_real_conversations(
    kind: str, is_marked: bool, real_conversations: list[list[Message]], tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(kind, MARKED[kind] if is_marked else None)
    check(tokenizer, make_tokenizer(kind, MARKED[kind]), real_conversations, tmp_path)


@needs_smollm2
@pytest.mark.slow
def test_masks_of_smollm2(real_conversations: list[list[Message]], tmp_path: Path) -> None:
    """Its own template, without marks, beside the same with marks; it adds a system's text."""
    from transformers import AutoTokenizer

    tokenizer, of_trl = (AutoTokenizer.from_pretrained(SMOLLM2) for _ in range(2))
    [opening] = [
        line for line in tokenizer.chat_template.splitlines() if "You are a helpful" in line
    ]
    system = "<|im_start|>system\n" + opening.partition("<|im_end|>")[0] + "<|im_end|>\n"
    marked = (TEMPLATES / "chatml_marked.jinja").read_text()
    of_trl.chat_template = (
        "{%- if messages[0]['role'] != 'system' -%}{{- " + repr(system) + " -}}{%- endif -%}"
    ) + marked
    check(tokenizer, of_trl, real_conversations, tmp_path)
