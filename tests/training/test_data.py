from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from droplora_sweep.evaluation.encoding import Encoded, encode_pairs
from droplora_sweep.evaluation.sequences import IGNORED, collate
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.spec import TrialSpec
from droplora_sweep.training.data import read
from droplora_sweep.training.loop import response_loss
from droplora_sweep.training.trainable import trainable

CPU = torch.device("cpu")


def encoded(num_prompt: int, *tokens: int) -> Encoded:
    return Encoded(np.array(tokens, dtype=np.int32), num_prompt)


def test_a_sequence_is_prompt_response_and_eos(tokenizer) -> None:
    data = trainable(
        encode_pairs(tokenizer, [("Is 2 even?\n", "yes"), ("é ", "ö")]), max_tokens=100
    )
    assert data.num_overlong == 0
    first, second = data.sequences
    assert tokenizer.decode(first.tokens) == "Is 2 even?\nyes<eos>"
    assert list(first.tokens[:11]) == tokenizer("Is 2 even?\n").input_ids
    assert (first.num_prompt_tokens, first.num_response_tokens) == (11, 4)
    assert (second.num_prompt_tokens, second.num_response_tokens) == (3, 3)


def test_over_long_examples_are_left_out_and_counted(tokenizer) -> None:
    pairs = [("a" * 10, "b" * 5), ("a" * 10, "b" * 4), ("a" * 3, "b")]
    data = trainable(encode_pairs(tokenizer, pairs), max_tokens=15)
    assert [len(sequence.tokens) for sequence in data.sequences] == [15, 5]
    assert data.num_overlong == 1


def test_examples_with_nothing_to_learn_are_left_out_and_counted(tokenizer) -> None:
    pairs = [("a prompt that fills it", "b"), ("a", ""), ("a", " \n"), ("a", "b")]
    data = trainable(encode_pairs(tokenizer, pairs), max_tokens=15)
    assert [sequence.num_response_tokens for sequence in data.sequences] == [2]
    assert (data.num_overlong, data.num_empty) == (1, 2)


def test_a_long_conversation_ends_with_its_last_answer_that_fits() -> None:
    """Two answers of two tokens each, behind prompts of three and two."""
    is_counted = np.array([0, 0, 0, 1, 1, 0, 0, 1, 1], bool)
    whole = Encoded(np.arange(9, dtype=np.int32), 3, is_counted)
    alone = Encoded(np.arange(9, dtype=np.int32), 7)
    for limit, lengths, num_overlong, num_shortened in (
        (9, [9, 9], 0, 0),
        (8, [5], 1, 1),
        (5, [5], 1, 1),
        (4, [], 2, 0),
    ):
        data = trainable([whole, alone], limit)
        assert [len(one.tokens) for one in data.sequences] == lengths
        assert (data.num_overlong, data.num_shortened) == (num_overlong, num_shortened)
    [cut] = trainable([whole], 8).sequences
    assert (cut.num_prompt_tokens, cut.num_response_tokens, cut.counted) == (3, 2, None)


def test_a_batch_counts_each_answer_of_a_conversation() -> None:
    is_counted = np.array([0, 0, 1, 0, 1, 1], bool)
    two = Encoded(np.arange(10, 16, dtype=np.int32), 2, is_counted)
    assert two.num_response_tokens == 3
    micro = collate([two, encoded(1, 5, 6, 7)], 99, CPU)
    assert micro.kept.tolist() == [0, 1, 2, 3, 4]
    assert micro.labels[0].tolist() == [IGNORED, 12, IGNORED, 14, 15]
    assert micro.labels[1].tolist() == [6, 7, IGNORED, IGNORED, IGNORED]


def test_a_token_across_the_border_does_not_hide_the_response() -> None:
    """A tokenizer that joins ``ab``: the prompt must be what the model is later given."""
    words = {"<eos>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "bc": 5}
    joined = Tokenizer(models.BPE(words, [("a", "b"), ("b", "c")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=joined, eos_token="<eos>")
    across, apart = trainable(
        encode_pairs(tokenizer, [("a", "b"), ("a", "c")]), max_tokens=9
    ).sequences
    assert (list(across.tokens), across.num_prompt_tokens) == ([1, 2, 0], 1)
    assert (list(apart.tokens), apart.num_prompt_tokens) == ([1, 3, 0], 1)


def test_collated_sequences_are_padded_to_a_multiple_of_eight() -> None:
    micro = collate([encoded(2, 5, 6, 7, 0), encoded(3, *range(5, 14), 0)], 99, CPU)
    assert micro.inputs.shape == (2, 16)
    assert micro.inputs[0].tolist() == [5, 6, 7, 0, *[99] * 12]
    assert micro.kept.tolist() == list(range(1, 9))
    assert micro.labels[0].tolist() == [7, 0, *[IGNORED] * 6]
    assert micro.labels[1].tolist() == [IGNORED, *range(8, 14), 0]


def test_uncounted_sequences_have_no_loss_and_no_gradient() -> None:
    micro = collate([encoded(2, 5, 6, 7, 0)], 0, CPU, counted=False)
    logits = torch.randn(1, len(micro.kept), 9, requires_grad=True)
    loss = response_loss(logits, micro.labels)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_a_confirmation_trains_on_what_the_search_has_read() -> None:
    """Other examples are scored; with another limit, other examples are trained on too."""
    sizes = {"num_train": 8, "num_validation": 1, "num_confirmation": 30, "num_test": 4}
    task = {"benchmarks": ["builtin_math"], **sizes}
    search = TrialSpec.model_validate({"task": task})
    confirmation = TrialSpec.model_validate({"task": task, "evaluation": {"split": "confirmation"}})
    shorter = TrialSpec.model_validate({"task": task, "training": {"max_sequence_tokens": 256}})
    tokenizer = load_tokenizer(search.model)
    first = read(search, tokenizer, None)
    second = read(confirmation, tokenizer, None, None, first)
    assert second.data is first.data
    assert second.key != first.key
    assert second.lengths == read(confirmation, tokenizer, None).lengths
    assert read(shorter, tokenizer, None, None, first).data is not first.data
