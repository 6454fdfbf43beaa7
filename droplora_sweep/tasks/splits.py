"""Cuts published files into training, validation and test splits that share no example.

The rules, which ``cut_splits`` applies in this order:

* Two examples are the same if their instruction and input are, but for case and white space.
* The test split is what the test file says, repeated questions included.
* The validation split is what a validation file says, else it is cut from the training file;
  it never holds an example of the test split.
* The training split is the rest of the training file, without what the other two hold.

The order of every split, and with it which examples a limit keeps, comes from a hash of each
example, not from its place in the file: adding examples to a file does not shuffle the others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .records import Example


@dataclass(frozen=True)
class Splits:
    """Training and validation split, and how many examples belonged to another split as well."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    num_left_out: int


def normalised_text(example: Example) -> str:
    """What is asked, in lower case and with single spaces: the example's identity."""
    return " ".join(f"{example.instruction} {example.input}".lower().split())


def stable_order(examples: Iterable[Example], purpose: str) -> list[Example]:
    """The examples in an order that depends on each example and on ``purpose`` alone."""

    def position(example: Example) -> tuple[bytes, str, str]:
        identity = hashlib.sha256(f"{purpose}\n{normalised_text(example)}".encode()).digest()
        return identity, example.instruction, example.output

    return sorted(examples, key=position)


def cut_splits(
    train_file: Sequence[Example],
    validation_file: Sequence[Example] | None,
    test_file: Sequence[Example],
    *,
    num_train: int | None,
    num_validation: int,
) -> Splits:
    """Applies the rules above; a split has fewer examples than asked for if there are no more.

    Args:
        train_file: Every example of the training file; empty if there is none.
        validation_file: Every example of the validation file; None if there is none.
        test_file: Every example of the test file; empty if there is none.
        num_train: At most this many training examples; no limit where None.
        num_validation: At most this many validation examples.
    """
    test_texts = {normalised_text(example) for example in test_file}
    source = train_file if validation_file is None else validation_file
    candidates = {
        text: example
        for example in stable_order(source, "validation")
        if (text := normalised_text(example)) not in test_texts
    }
    validation = tuple(candidates.values())[:num_validation]
    held_out = test_texts | set(tuple(candidates)[:num_validation])
    train = [
        example
        for example in stable_order(train_file, "train")
        if normalised_text(example) not in held_out
    ]
    if validation_file is None:
        num_left_out = len(train_file) - len(train) - len(validation)
    else:
        num_left_out = len(train_file) - len(train) + len(validation_file) - len(candidates)
    return Splits(tuple(train[:num_train]), validation, num_left_out)


def limit_test(test_file: Sequence[Example], num_test: int | None) -> tuple[Example, ...]:
    """The test split: all of its file, or the first by stable order."""
    return tuple(stable_order(test_file, "test")[:num_test])
