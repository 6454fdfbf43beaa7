"""Tokens that tokenizers add to a text, and those that a model is given."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from droplora_sweep.evaluation.encoding import encode_pairs
from droplora_sweep.evaluation.option_scoring import option_tokens
from droplora_sweep.evaluation.tokens import prompt_tokens, response_tokens

BOS, EOS, SEP = 0, 1, 2
SPECIAL = ["<s>", "</s>", "<sep>"]


def make_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """One token per byte, and what the template puts around a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({word: i for i, word in enumerate([*SPECIAL, *alphabet])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    if template is not None:
        made.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(word, made.token_to_id(word)) for word in SPECIAL]
        )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


TEMPLATES = {
    None: [],
    "<s> $A": [BOS],
    "$A </s>": [],
    "<s> $A </s>": [BOS],
    "<s> $A <sep> </s>": [BOS],
    "<s> <s> $A </s>": [BOS],
}
"""Text before a prompt, by template."""


@pytest.fixture(params=TEMPLATES, ids=str)
def tokenizer_and_start(
    request: pytest.FixtureRequest,
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    return make_tokenizer(request.param), TEMPLATES[request.param]


def plain(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


def test_nothing_is_appended_to_a_prompt(tokenizer_and_start) -> None:
    tokenizer, start = tokenizer_and_start
    texts = ["Is 2 even?\n", "a", ""]
    expected = [[*start, *plain(tokenizer, text)] for text in texts]
    assert prompt_tokens(tokenizer, texts) == expected


def test_a_prompt_that_begins_with_bos_has_it_once(tokenizer_and_start) -> None:
    tokenizer, _ = tokenizer_and_start
    assert prompt_tokens(tokenizer, ["<s>ab"]) == [[BOS, *plain(tokenizer, "ab")]]


def test_eos_stands_behind_the_response_alone_in_training(tokenizer_and_start) -> None:
    tokenizer, start = tokenizer_and_start
    [sequence] = encode_pairs(tokenizer, [("Is 2 even? ", "yes")])
    prompt = [*start, *plain(tokenizer, "Is 2 even? ")]
    assert list(sequence.tokens) == [*prompt, *plain(tokenizer, "yes"), EOS]
    assert sequence.num_prompt_tokens == len(prompt)


def test_options_are_scored_as_they_are_trained(tokenizer_and_start) -> None:
    tokenizer, _ = tokenizer_and_start
    pairs = [("Is 2 even? ", "it is true"), ("Is 2 even? ", "it is false")]
    starts = prompt_tokens(tokenizer, [prompt for prompt, _ in pairs])
    options = option_tokens(response_tokens(tokenizer, pairs, starts), EOS)
    assert [*options.prefix] == plain(tokenizer, "it is ")
    assert [[*suffix] for suffix in options.suffixes] == [
        plain(tokenizer, "true"),
        plain(tokenizer, "false"),
    ]
