"""A task's data before anything is trained on it: sizes, lengths, repeats, and what is left out.

It needs the model's tokenizer and no weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.context import prompt_limit
from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.models.hub import OutOfReachError
from droplora_sweep.models.inspecting import context_tokens
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.splits import normalised_text
from droplora_sweep.tasks.task import Benchmark
from droplora_sweep.training.trainable import trainable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.encoding import Encoded
    from droplora_sweep.spec import SweepFile, SweepSpec
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks.task import Example, Overlap, Task, TrainingSet

QUANTILES: Final = (0.5, 0.9, 0.99)
"""Quantiles of lengths that are shown, beside the longest."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of a split's sequences in tokens.

    Attributes:
        quantiles: The smallest length that such a share of the sequences does not exceed, by share.
        longest: The most tokens of a sequence.
        num_counted: Tokens that have a loss, of all sequences that are trained on together.
        limit: The most tokens that a sequence may have; None is no limit.
        share_over: Share of the sequences that have more.
    """

    quantiles: Mapping[float, int]
    longest: int
    num_counted: int
    limit: int | None
    share_over: float


@dataclass(frozen=True, kw_only=True)
class SplitSurvey:
    """One split of a benchmark or of the training mixture.

    Attributes:
        name: Of the benchmark or the mixture.
        split: ``train``, ``validation``, ``confirmation`` or ``test``.
        num_examples: Examples in it.
        num_repeated: Those whose question an earlier one of the split has, but for case and space.
        num_contradicting: Those of them with another response.
        lengths: Of prompt, response and EOS where it is trained on, else of the prompt; None
            without examples or without a tokenizer.
    """

    name: str
    split: str
    num_examples: int
    num_repeated: int
    num_contradicting: int
    lengths: Lengths | None = None


@dataclass(frozen=True)
class LeftOut:
    """Examples that are not used.

    Attributes:
        name: ``<benchmark>/<split>``.
        number: How many.
        reason: The reason, which goes on from "left out: ".
    """

    name: str
    number: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """An example as the model reads it.

    Attributes:
        name: ``<benchmark>/<split>``.
        pieces: Its text, in pieces that have a loss or have none.
        num_tokens: All tokens.
        num_counted: Those that have a loss.
    """

    name: str
    pieces: tuple[tuple[str, bool], ...]
    num_tokens: int
    num_counted: int


@dataclass(frozen=True, kw_only=True)
class DataSurvey:
    """A task's data.

    Attributes:
        name: Name of the sweep.
        model: Path of the model whose tokenizer counts.
        splits: Each split that has examples.
        overlaps: Examples that the files of two splits share.
        left_out: Examples that are not used.
        examples: One or more of each data set.
        notes: Remarks on the files, one line each.
        unchecked: Gaps in the survey, one line each.
    """

    name: str
    model: str
    splits: tuple[SplitSurvey, ...]
    overlaps: tuple[Overlap, ...]
    left_out: tuple[LeftOut, ...]
    examples: tuple[ShownExample, ...]
    notes: tuple[str, ...]
    unchecked: tuple[str, ...]


def survey_data(
    file: SweepFile, *, num_shown: int = 1, only: Iterable[str] | None = None
) -> DataSurvey:
    """Read a task's data and measure it with the tokenizer of its model.

    Args:
        file: A valid file.
        num_shown: Examples to show of each data set.
        only: Names of benchmarks or of the mixture; all of them where None.

    Raises:
        InputError: The data or the tokenizer cannot be read; with every fault at its line.
    """
    try:
        return _survey_data(file.sweep, num_shown, None if only is None else set(only))
    except InputError as error:
        raise file.locate(error) from error


def _survey_data(sweep: SweepSpec, num_shown: int, wanted: set[str] | None) -> DataSurvey:
    task = load_task(sweep.task)
    reader: _Reader | None = None
    unchecked: tuple[str, ...] = ()
    try:
        context = context_tokens(sweep.model)
        # transformers takes seconds to import, which a fault of the data does not cost.
        from droplora_sweep.models.loading import load_tokenizer

        reader = _Reader(load_tokenizer(sweep.model), task, sweep, context)
    except OutOfReachError as error:
        [fault] = error.faults
        unchecked = (f"model.path: {fault.problem}; so no lengths are known, and no example shown",)
    splits: list[SplitSurvey] = []
    left_out: list[LeftOut] = []
    examples: list[ShownExample] = []
    for one in _data_sets(task):
        if wanted is not None and one.name not in wanted:
            continue
        left_out += _not_split(one)
        for split, some in _splits(one):
            lengths = None
            if reader is not None:
                lengths, more = reader.measure(one, split, some)
                left_out += more
            repeated, contradicting = count_repeats(some)
            splits.append(
                SplitSurvey(
                    name=one.name,
                    split=split,
                    num_examples=len(some),
                    num_repeated=repeated,
                    num_contradicting=contradicting,
                    lengths=lengths,
                )
            )
        if reader is not None:
            examples += reader.show(one, num_shown)
    return DataSurvey(
        name=sweep.name,
        model=sweep.model.path,
        splits=tuple(splits),
        overlaps=task.overlaps,
        left_out=tuple(left_out),
        examples=tuple(examples),
        notes=task.notes,
        unchecked=(*unchecked, *dict.fromkeys([] if reader is None else reader.unchecked)),
    )


def _data_sets(task: Task) -> tuple[TrainingSet, ...]:
    return task.benchmarks if task.mixture is None else (task.mixture, *task.benchmarks)


def _splits(one: TrainingSet) -> Iterator[tuple[str, tuple[Example, ...]]]:
    """Each split that has examples, test last."""
    for split, examples in one.splits().items():
        if examples:
            yield split, examples
    if isinstance(one, Benchmark) and (tested := one.test()):
        yield "test", tested


def _not_split(one: TrainingSet) -> Iterator[LeftOut]:
    if one.num_left_out:
        yield LeftOut(one.name, one.num_left_out, "another split asks the same")
    if one.num_beyond_limit:
        yield LeftOut(
            f"{one.name}/train",
            one.num_beyond_limit,
            "more than `task.num_train` and `task.train_share` allow",
        )


def count_repeats(examples: Sequence[Example]) -> tuple[int, int]:
    """Return the number of examples that ask what an earlier one asks, and with another response.

    Questions are the same if they are but for case and white space, as for overlaps of splits.
    """
    first: dict[str, tuple[str, str]] = {}
    num_repeated = num_contradicting = 0
    for example in examples:
        response = (example.output.strip(), example.answer.strip())
        before = first.setdefault(normalised_text(example), response)
        if before is not response:
            num_repeated += 1
            num_contradicting += before != response
    return num_repeated, num_contradicting


def measure_lengths(lengths: Sequence[int], limit: int | None, num_counted: int = 0) -> Lengths:
    """Return the quantiles of lengths, each one of the lengths, and the share over a limit."""
    array = np.asarray(lengths)
    values = np.quantile(array, QUANTILES, method="inverted_cdf")
    return Lengths(
        quantiles={share: int(value) for share, value in zip(QUANTILES, values, strict=True)},
        longest=int(array.max()),
        num_counted=num_counted,
        limit=limit,
        share_over=0.0 if limit is None else float((array > limit).mean()),
    )


class _Reader:
    """Reader of examples with a model's tokenizer, as training and evaluation read them."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        trial: TrialSpec,
        context: int | None,
    ) -> None:
        self.unchecked: list[str] = []
        self._tokenizer = tokenizer
        self._prompts = prompts_of(tokenizer, task)
        self._trial = trial
        self._context = context

    def measure(
        self, one: TrainingSet, split: str, examples: Sequence[Example]
    ) -> tuple[Lengths | None, list[LeftOut]]:
        """Return the lengths of a split, and what is left out for its length or its response."""
        name = f"{one.name}/{split}"
        if split == "train":
            return self._measure_training(name, one, examples)
        assert isinstance(one, Benchmark), "only benchmarks are scored"
        evaluation = self._trial.evaluation
        try:
            limit = prompt_limit(self._context, one, evaluation, self._prompts)
        except InputError as error:
            limit = None
            self.unchecked += [f"{fault.field}: {fault.problem}" for fault in error.faults]
        tokens = self._prompts.tokens([self._prompts.text(one, example) for example in examples])
        lengths = measure_lengths(list(map(len, tokens)), limit)
        num_over = round(lengths.share_over * len(examples))
        cut = "left out" if evaluation.on_long_prompt == "drop" else "read without its beginning"
        reason = f"a prompt of more than {limit or 0:,} tokens is {cut}"
        return lengths, [LeftOut(name, num_over, reason)] if num_over else []

    def _measure_training(
        self, name: str, one: TrainingSet, examples: Sequence[Example]
    ) -> tuple[Lengths | None, list[LeftOut]]:
        limit = self._trial.training.max_sequence_tokens
        encoded = self._encode(one, examples)
        data = trainable(encoded, limit)
        reasons = (
            (data.num_empty, "no response to learn"),
            (data.num_overlong, f"more than `training.max_sequence_tokens`, {limit:,}"),
            (data.num_shortened, f"the turns behind {limit:,} tokens of a conversation are cut"),
        )
        left_out = [LeftOut(name, number, reason) for number, reason in reasons if number]
        all_lengths = [len(sequence.tokens) for sequence in encoded if sequence is not None]
        if not all_lengths:
            return None, left_out
        num_counted = sum(sequence.num_response_tokens for sequence in data.sequences)
        return measure_lengths(all_lengths, limit, num_counted), left_out

    def show(self, one: TrainingSet, number: int) -> Iterator[ShownExample]:
        """Yield the first examples that are trained on; prompts alone where none is."""
        limit = self._trial.training.max_sequence_tokens
        num_shown = 0
        for example in one.train if number else ():
            for sequence in trainable(self._encode(one, [example]), limit).sequences:
                counted = sequence.is_counted.tolist()
                yield self._shown(f"{one.name}/train", sequence.tokens.tolist(), counted)
                num_shown += 1
            if num_shown == number:
                break
        if num_shown or not isinstance(one, Benchmark):
            return
        for example in one.validation[:number]:
            [tokens] = self._prompts.tokens([self._prompts.text(one, example)])
            yield self._shown(f"{one.name}/validation", tokens, [False] * len(tokens))

    def _encode(self, one: TrainingSet, examples: Sequence[Example]) -> list[Encoded | None]:
        asked = [(one, example) for example in examples]
        return self._prompts.encode(asked, self._trial.task.loss_on)

    def _shown(self, name: str, tokens: list[int], counted: list[bool]) -> ShownExample:
        """Return the text of tokens, in runs of those with a loss and those without."""
        runs = groupby(zip(tokens, counted, strict=True), key=lambda pair: pair[1])
        pieces = tuple(
            (self._text([token for token, _ in run]), is_counted) for is_counted, run in runs
        )
        return ShownExample(
            name=name,
            pieces=pieces,
            num_tokens=len(tokens),
            num_counted=sum(counted),
        )

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
