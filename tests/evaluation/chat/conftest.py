"""Three kinds of tokenizers with chat templates, made here, and real conversations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from droplora_sweep.tasks.task import Message

if TYPE_CHECKING:
    from collections.abc import Callable

TEMPLATES = Path(__file__).parent / "templates"
SAMPLE = [
    "the correct answer is answer1. Who wrote the letter, and when did the writer send it?",
    "Please answer in a few words: it is the first of the two, since the other is not there.",
    "1 2 3 10 100 \n\n and \n then",
]
LLAMA_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Llama 3's words of a text: lines that end stay together."""
SPECIAL = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama": [
        *("<|begin_of_text|>", "<|end_of_text|>"),
        *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ],
    "mistral": ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"],
}
ENDS = {"chatml": "<|im_end|>", "llama": "<|eot_id|>", "mistral": "</s>"}
BEGINNINGS = {"chatml": "<|im_start|>", "llama": "<|begin_of_text|>", "mistral": "<s>"}


def make_tokenizer(kind: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer of this kind; one that begins every text with BOS where its model does.

    Args:
        kind: ``chatml``, ``llama`` or ``mistral``.
        template: Name of a file of a chat template; that of the kind where None.
    """
    made = _mistral() if kind == "mistral" else _bytes(kind)
    if kind != "chatml":
        start = BEGINNINGS[kind]
        made.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, made.token_to_id(start))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=BEGINNINGS[kind],
        eos_token=ENDS[kind],
        pad_token=SPECIAL[kind][0],
    )
    tokenizer.chat_template = (TEMPLATES / f"{template or kind}.jinja").read_text()
    return tokenizer


def _bytes(kind: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "llama":
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA_WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=SPECIAL[kind],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SAMPLE, trainer)
    return made


def _mistral() -> Tokenizer:
    """Like SentencePiece's: spaces are letters, and a letter that it does not know is its bytes."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=SPECIAL["mistral"], show_progress=False
    )
    trained.train_from_iterator(SAMPLE, trainer)
    content = json.loads(trained.to_str())["model"]
    words = dict(content["vocab"])
    words |= {f"<0x{byte:02X}>": len(words) + byte for byte in range(256)}
    merges = [tuple(merge) for merge in content["merges"]]
    made = Tokenizer(models.BPE(words, merges, unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = trained.pre_tokenizer
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.add_special_tokens([AddedToken(one, normalized=False) for one in SPECIAL["mistral"]])
    return made


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[..., PreTrainedTokenizerFast]:
    """Makes each tokenizer once (see ``make_tokenizer``)."""
    made: dict[tuple[str, str | None], PreTrainedTokenizerFast] = {}

    def tokenizer_of(kind: str, template: str | None = None) -> PreTrainedTokenizerFast:
        if (kind, template) not in made:
            made[kind, template] = make_tokenizer(kind, template)
        return made[kind, template]

    return tokenizer_of


def conversation(*said: str, system: str | None = None) -> list[Message]:
    """The turns of user and assistant."""
    roles = ("user", "assistant")
    turns = [Message(roles[index % 2], text) for index, text in enumerate(said)]
    return turns if system is None else [Message("system", system), *turns]


@pytest.fixture(scope="session")
def real_conversations() -> list[list[Message]]:
    """MT-bench's questions with GPT-4's reference answers, two turns each, and 60 of ARC-Easy."""
    folder = os.environ.get("DROPLORA_TEST_DATA")
    if folder is None:
        pytest.skip("no DROPLORA_TEST_DATA names the benchmark files")
    place = Path(folder) / "conversation" / "mt_bench"
    questions = {
        one["question_id"]: one["turns"]
        for one in map(json.loads, (place / "question.jsonl").read_text().splitlines())
    }
    answers = map(json.loads, (place / "reference_answer" / "gpt-4.jsonl").read_text().splitlines())
    found = []
    for one in answers:
        replies = one["choices"][0]["turns"]
        said = zip(questions[one["question_id"]], replies, strict=True)
        found.append(conversation(*(text for exchange in said for text in exchange)))
    records = json.loads((Path(folder) / "commonsense/arc_easy/train.json").read_text())[:60]
    return found + [conversation(one["instruction"], one["output"]) for one in records]
