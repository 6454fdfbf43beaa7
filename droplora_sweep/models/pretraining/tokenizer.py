"""The built-in model's byte-level BPE tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from droplora_sweep.tasks.prompts import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable

PAD_TOKEN: Final = "<pad>"
EOS_TOKEN: Final = "</s>"
VOCABULARY_SIZE: Final = 1280
CONTEXT_TOKENS: Final = 256

_BEFORE_INSTRUCTION, _AFTER_INSTRUCTION = TEMPLATE.split("{instruction}")
PHRASES: Final = (
    _BEFORE_INSTRUCTION,
    _AFTER_INSTRUCTION,
    " Let's think step by step.",
    "Please choose the correct answer to the question:",
    "Answer format: answer1/answer2/answer3/answer4",
)
"""Text that every prompt of a benchmark repeats; one token each keeps sequences short."""

_PIECES: Final = r" ?[A-Za-z]+[0-9]:| ?[A-Za-z]+[0-9]?| ?[0-9]{1,2}|\n[\n ]*| ?[^\sA-Za-z0-9]+|\s"
"""A word (also ``answer2``, ``Answer2:``), a number below 100, a line break with indent, signs."""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learns the merges from ``texts``; any text can be encoded, since all bytes are tokens.

    Nothing is put before or after a text on its own: a response's end is marked by whoever
    appends ``EOS_TOKEN``.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(PHRASES),
        special_tokens=[PAD_TOKEN, EOS_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
