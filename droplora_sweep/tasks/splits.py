"""Training, validation and test splits that share no example, cut from published files.

The rules, which ``cut_splits`` applies in this order:

* Two examples are the same if their instruction and input are, but for case and white space; two
  of MBPP also if their number is, since EvalPlus asks for the same in other words.
* The test split is what the test file says, repeated questions included.
* The validation split is what a validation file says, else it is cut from the training file;
  it never holds an example of any benchmark's test split, nor of another's validation split.
* The confirmation split, where one is asked for, is the next examples of the same order, and where
  a validation file has too few, examples of the training file. It changes no validation split.
* The training split is the rest of the training file, without what test, validation and
  confirmation splits, of any benchmark, hold.
* With a training mixture, the benchmarks' own training files are not trained on, and validate
  too. A benchmark that has neither file is validated on examples cut from the mixture: those
  whose answer its scoring can read (for MetaMathQA also those made from it, by their ``type``).
  If there is none, as for tests of code, the benchmark is tested only.

The order of every split, and with it which examples a limit keeps, comes from a hash of each
example, not from its place in the file: adding examples to a file does not shuffle the others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.task import num_kept

from .task import Overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .task import Example


@dataclass(frozen=True)
class Source:
    """Examples in the files of one benchmark; None for a file that is not there."""

    name: str
    train: Sequence[Example] | None = None
    validation: Sequence[Example] | None = None
    test: Sequence[Example] | None = None


@dataclass(frozen=True)
class Mixture:
    """A training mixture; ``suits`` is True where a benchmark's scorer can read an example."""

    name: str
    examples: Sequence[Example]
    suits: Callable[[str, Example], bool]


@dataclass(frozen=True)
class Splits:
    """A benchmark's splits but test, and how many examples are in none of them.

    Attributes:
        train: Examples to train on.
        validation: Examples to search with.
        num_left_out: Examples that belonged to another split as well.
        confirmation: Examples to confirm with.
        num_beyond_limit: Training examples beyond the task's limits.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    num_left_out: int
    confirmation: tuple[Example, ...] = ()
    num_beyond_limit: int = 0


@dataclass(frozen=True)
class Cut:
    """All splits of a task: by benchmark, of the mixture, and what their files shared."""

    splits: dict[str, Splits]
    mixture: Splits | None
    overlaps: tuple[Overlap, ...]


def normalised_text(example: Example) -> str:
    """Return all that is asked, in lower case and with single spaces: the example's identity."""
    before = (text for exchange in example.history for text in exchange)
    asked = (*before, example.instruction, example.input, *example.turns[1:])
    return " ".join(" ".join(asked).lower().split())


def identities(example: Example) -> tuple[str, ...]:
    """Return all that makes two examples the same if one of it is equal; the text is the first."""
    text = normalised_text(example)
    is_mbpp = example.id is not None and example.id.startswith("MBPP/")
    return (text, str(example.id)) if is_mbpp else (text,)


def stable_order(examples: Iterable[Example], purpose: str) -> list[Example]:
    """Return the examples in an order that depends on each example and on ``purpose`` alone."""

    def position(example: Example) -> tuple[bytes, str, str]:
        identity = hashlib.sha256(f"{purpose}\n{normalised_text(example)}".encode()).digest()
        return identity, example.instruction, example.output

    return sorted(examples, key=position)


def cut_splits(
    sources: Sequence[Source],
    mixture: Mixture | None = None,
    *,
    num_train: int | None,
    train_share: float | None = None,
    num_validation: int,
    num_confirmation: int = 0,
) -> Cut:
    """Apply the rules above; a split has fewer examples than asked for if there are no more.

    Args:
        sources: One per benchmark.
        mixture: Training data in place of the benchmarks' training files.
        num_train: At most this many training examples per benchmark or mixture; None: no limit.
        train_share: Share of those that is kept; None keeps all.
        num_validation: At most this many validation examples per benchmark.
        num_confirmation: At most this many confirmation examples per benchmark.
    """
    held = _Held()
    for source in sources:
        held.add(f"{source.name}/test", source.test or ())
    validations: dict[str, tuple[Example, ...]] = {}
    num_shared: dict[str, int] = {}
    for source in sources:
        name = f"{source.name}/validation"
        origin, pool = _validation_pool(source, mixture)
        if source.validation is not None:
            held.count(name, source.validation)
        candidates = {
            normalised_text(example): example
            for example in stable_order(pool, "validation")
            if example not in held
        }
        validations[source.name] = tuple(candidates.values())[:num_validation]
        is_mixed = mixture is not None and origin == f"{mixture.name}/train"
        num_shared[source.name] = 0 if is_mixed else len(pool) - len(candidates)
        held.add(name, validations[source.name], origin)
    confirmations = {
        source.name: _hold_confirmation(source, mixture, held, num_confirmation)
        for source in sources
    }
    splits = {}
    for source in sources:
        validation, confirmation = validations[source.name], confirmations[source.name]
        if mixture is not None:
            num_left_out = num_shared[source.name]
            splits[source.name] = Splits((), validation, num_left_out, confirmation)
            continue
        train_file = source.train or ()
        train = held.remove(f"{source.name}/train", train_file)
        held_back = [*confirmation] if source.validation else [*validation, *confirmation]
        from_train = set(map(normalised_text, train_file))
        num_held_back = sum(normalised_text(one) in from_train for one in held_back)
        num_left_out = len(train_file) - len(train) - num_held_back
        if source.validation is not None:
            num_left_out += num_shared[source.name]
        kept = tuple(train[: num_kept(len(train), num_train, train_share)])
        splits[source.name] = Splits(
            kept, validation, num_left_out, confirmation, len(train) - len(kept)
        )
    mixed = None
    if mixture is not None:
        train = held.remove(f"{mixture.name}/train", mixture.examples)
        num_left_out = len(mixture.examples) - len(train)
        kept = tuple(train[: num_kept(len(train), num_train, train_share)])
        mixed = Splits(kept, (), num_left_out, num_beyond_limit=len(train) - len(kept))
    return Cut(splits, mixed, held.overlaps())


def _validation_pool(source: Source, mixture: Mixture | None) -> tuple[str, Sequence[Example]]:
    """Return the split that a benchmark's validation split is taken from: its name and examples."""
    if mixture is None:
        if source.validation is not None:
            return f"{source.name}/validation", source.validation
        return f"{source.name}/train", source.train or ()
    if source.validation is not None or source.train is not None:
        # The mixture is trained on instead, so that all of these can validate.
        return f"{source.name}/train", (*(source.validation or ()), *(source.train or ()))
    suited = [one for one in mixture.examples if mixture.suits(source.name, one)]
    return f"{mixture.name}/train", suited


def _hold_confirmation(
    source: Source, mixture: Mixture | None, held: _Held, number: int
) -> tuple[Example, ...]:
    """Choose a benchmark's confirmation split from what no other split holds, and hold it back."""
    pools = [_validation_pool(source, mixture)]
    if mixture is None and source.validation is not None:
        pools.append((f"{source.name}/train", source.train or ()))
    chosen: list[Example] = []
    for origin, pool in pools:
        candidates = {
            normalised_text(example): example
            for example in stable_order(pool, "validation")
            if example not in held
        }
        more = tuple(candidates.values())[: number - len(chosen)]
        held.add(f"{source.name}/confirmation", more, origin)
        chosen += more
    return tuple(chosen)


class _Held:
    """Examples that more protected splits hold, and how often other splits had them too."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str, str]] = {}
        self._exact: set[tuple[str, str]] = set()
        self._counts: dict[tuple[str, str], list[int]] = {}

    def __contains__(self, example: Example) -> bool:
        return any(one in self._owners for one in identities(example))

    def add(self, split: str, examples: Iterable[Example], origin: str | None = None) -> None:
        """Hold these back; that ``origin``, from which they are taken, has them is no overlap."""
        for example in examples:
            for identity in identities(example):
                self._owners.setdefault(identity, (split, origin or split))
            self._exact.add((example.instruction, example.input))

    def remove(self, split: str, examples: Iterable[Example]) -> list[Example]:
        """Return the examples that no other split holds, in stable order, and count the others."""
        self.count(split, examples)
        return [one for one in stable_order(examples, "train") if one not in self]

    def count(self, split: str, examples: Iterable[Example]) -> None:
        for example in examples:
            owner, origin = next(
                (self._owners[one] for one in identities(example) if one in self._owners),
                (split, split),
            )
            if split not in (owner, origin):
                exact = (example.instruction, example.input) in self._exact
                counts = self._counts.setdefault((split, owner), [0, 0])
                counts[0 if exact else 1] += 1

    def overlaps(self) -> tuple[Overlap, ...]:
        return tuple(Overlap(*names, *counts) for names, counts in sorted(self._counts.items()))


def limit_test(test_file: Sequence[Example], num_test: int | None) -> tuple[Example, ...]:
    """Return the test split: all of its file, or the first by stable order."""
    return tuple(stable_order(test_file, "test")[:num_test])
