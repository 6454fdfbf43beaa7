"""A loaded task: records as examples, their prompts, and scores that need no model."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from droplora_sweep.spec.task import CHAT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from droplora_sweep.scorers.scorer import Scorer


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class Example:
    """One training or evaluation example.

    Attributes:
        instruction: The question or request.
        input: Further context; empty in every task of the paper.
        output: The response the model is trained on.
        answer: The right answer: an option's name, a number, an expression, or the Python program
            that is put behind the response's and must run to its end (tests and their call). For
            ``judge`` the reference answers as a JSON list, one per turn, or "". May be "" in a
            training mixture, whose examples are not scored.
        preamble: The code in front of a response that continues it, as HumanEval's does: imports,
            helper functions and the head of the function to write. It is harmless where a response
            repeats it. None where a response is a program of its own.
        id: The publisher's name of the example, e.g. ``HumanEval/0``.
        category: The publisher's kind of example, e.g. ``GSM_Rephrased`` or ``coding``.
        turns: The user's text in each turn of a conversation, the first being ``instruction``;
            empty where there is one turn only.
        system: The system's text before a conversation, of a chat template; None without one.
        history: The exchanges before ``instruction`` in a conversation, each the user's text and
            the answer to it; empty unless a chat template renders them.
    """

    instruction: str
    input: str
    output: str
    answer: str
    id: str | None = None
    category: str | None = None
    turns: tuple[str, ...] = ()
    preamble: str | None = None
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 over all fields that are set: a stable id."""
        content = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()[:16]


class Message(NamedTuple):
    """One turn of a conversation: ``system``, ``user`` or ``assistant``, and the text."""

    role: str
    content: str


TEMPLATE = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
)
TEMPLATE_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)


CODE_TEMPLATE = TEMPLATE.replace("\n\n### Instruction:", "\n\n\n### Instruction:")
"""The prompt of code as the released code has it: with another blank line."""

TURN_SEPARATOR = "\n\n"
"""Between an answer and the next turn's prompt, as FastChat has it for this template."""


def render_turn(prompts: Sequence[str], answers: Sequence[str]) -> str:
    """Return the text that the model continues in a turn: all that was said so far.

    Every turn is rendered like a question of its own, and followed by its answer::

        prompt 1, answer 1, blank line, prompt 2, answer 2, blank line, prompt 3

    so that each turn looks like what the model was trained on, whatever the template.

    Args:
        prompts: Of each turn up to this one (see ``render_prompt``).
        answers: To each turn before this one.
    """
    said = [
        f"{prompt}{answer}{TURN_SEPARATOR}"
        for prompt, answer in zip(prompts[:-1], answers, strict=True)
    ]
    return "".join(said) + prompts[-1]


def render_prompt(example: Example, suffix: str = "\n", template: str | None = None) -> str:
    """Return the text that the model continues; its label is the example's ``output`` plus EOS.

    Args:
        example: The question.
        suffix: Ends the prompt: a newline for choice tasks, ``" Let's think step by step."`` for
            math, nothing for code and conversations (the released code's).
        template: Holds ``{instruction}`` and may hold ``{input}``; the paper's where None.
    """
    if template is None:
        template = TEMPLATE_WITH_INPUT if example.input else TEMPLATE
    values = {"{instruction}": example.instruction, "{input}": example.input}
    # In one pass: an instruction may itself hold "{input}", and a template other braces.
    return re.sub(r"{instruction}|{input}", lambda mark: values[mark[0]], template) + suffix


def user_text(example: Example, instruction: str, suffix: str) -> str:
    """Return what a user says in a conversation.

    Args:
        example: Its input follows the question.
        instruction: The question.
        suffix: Words that would end a text prompt, e.g. ``" Let's think step by step."``.
    """
    text = f"{instruction}\n\n{example.input}" if example.input else instruction
    return text + suffix.rstrip()


CHAT_DATE: Final = "26 Jul 2024"
"""Date that a chat template is told, Llama 3's own default, so that a prompt is always the same."""

ScoredSplit = Literal["validation", "confirmation", "test"]


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """A data set that is trained on: a benchmark, or a training mixture.

    Attributes:
        name: As in ``task.benchmarks`` or ``task.train.name``.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        train: Examples to train on; may be empty if other benchmarks have some.
        num_left_out: Training and validation examples that a split they must not share also has.
        num_beyond_limit: Training examples that ``task.num_train`` or ``task.train_share`` leaves
            out.
        prompt: Template of the prompt, or ``chat``; None is the paper's.
        system: The system's text of conversations that have none of their own; None is none.
    """

    name: str
    prompt_suffix: str
    train: tuple[Example, ...] = field(repr=False)
    num_left_out: int
    num_beyond_limit: int = 0
    prompt: str | None = None
    system: str | None = None

    @property
    def is_chat(self) -> bool:
        """True where the chat template of the model's tokenizer renders what the model reads."""
        return self.prompt == CHAT

    def messages(self, example: Example, answers: Sequence[str] = ()) -> list[Message]:
        """Return a conversation up to the question that is to be answered.

        Args:
            example: The question, with what was said before it.
            answers: The model's own to the turns before, of an example with ``turns``.
        """
        system = self.system if example.system is None else example.system
        said = [] if system is None else [Message("system", system)]
        for before, answer in example.history:
            said += [Message("user", before), Message("assistant", answer)]
        asked = example.turns or (example.instruction,)
        for text, answer in zip(asked, answers, strict=False):
            said += [
                Message("user", user_text(example, text, self.prompt_suffix)),
                Message("assistant", answer),
            ]
        question = user_text(example, asked[len(answers)], self.prompt_suffix)
        return [*said, Message("user", question)]

    def render_prompt(self, example: Example) -> str:
        """Return the text that the model continues, of a template that needs no tokenizer."""
        assert not self.is_chat, "a chat template is the tokenizer's"
        return render_prompt(example, self.prompt_suffix, self.prompt)

    def splits(self) -> dict[str, tuple[Example, ...]]:
        """Return the examples by split, without test."""
        return {"train": self.train}


@dataclass(frozen=True, kw_only=True)
class Benchmark(TrainingSet):
    """One scored data set; no example is in two of its splits.

    Attributes:
        scorer: Compares a response with ``Example.answer``.
        max_new_tokens: A response needs no more than this; None where the benchmark sets no limit.
        validation: Examples that score a trial of the search.
        confirmation: Examples that compare finalists after the search, which never sees them.
        num_test: Number of examples of ``test``; 0 if there is no test split.
        read_test: Reads the test split.
        metrics: Corpus metrics that are reported beside the score.
    """

    scorer: Scorer
    max_new_tokens: int | None
    validation: tuple[Example, ...] = field(repr=False)
    confirmation: tuple[Example, ...] = field(default=(), repr=False)
    num_test: int
    read_test: Callable[[], tuple[Example, ...]] = field(repr=False, compare=False)
    metrics: tuple[str, ...] = ()

    def render_turn(self, example: Example, answers: Sequence[str]) -> str:
        """Return the text that the model continues after these answers (see ``render_turn``)."""
        asked = example.turns[: len(answers) + 1]
        turns = [replace(example, instruction=instruction) for instruction in asked]
        return render_turn([self.render_prompt(turn) for turn in turns], answers)

    def splits(self) -> dict[str, tuple[Example, ...]]:
        """Return the examples by split, without test; an empty confirmation split is none."""
        confirmation = {"confirmation": self.confirmation} if self.confirmation else {}
        return {**super().splits(), "validation": self.validation, **confirmation}

    def examples(self, split: ScoredSplit) -> tuple[Example, ...]:
        """Return the examples of a split that is scored; those of ``test`` are read for it."""
        return self.test() if split == "test" else self.splits().get(split, ())

    def test(self) -> tuple[Example, ...]:
        """Read the test split, at each call, so that a search cannot meet it by accident."""
        return self.read_test()


@dataclass(frozen=True)
class Overlap:
    """Examples that the files of two splits share; they are left out of the first.

    Attributes:
        split: ``<benchmark>/<split>``.
        other: ``<benchmark>/<split>`` that is more protected.
        num_exact: Examples with the same text.
        num_normalised: Further ones that differ in case and white space alone.
    """

    split: str
    other: str
    num_exact: int
    num_normalised: int


@dataclass(frozen=True)
class Task:
    """Benchmarks that are trained on together and scored one by one.

    Attributes:
        name: As in ``task.name``.
        benchmarks: In the order of ``task.benchmarks``.
        digests: ``<benchmark>/<split>`` to ``split_digest`` of every split but test,
            ``<benchmark>/prompt`` to the sha256 of a prompt that is the benchmark's own, and
            ``<benchmark>/scoring`` to that of a user's code that scores it.
        mixture: Training data, if it is not the benchmarks' own.
        overlaps: Examples that two splits' files share.
        notes: Remarks on the data that are no faults, one line each.
        pins: Digest of what was read, by URL: the ``revision`` that names the same content.
    """

    name: str
    benchmarks: tuple[Benchmark, ...]
    digests: dict[str, str]
    mixture: TrainingSet | None = None
    overlaps: tuple[Overlap, ...] = ()
    notes: tuple[str, ...] = ()
    pins: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_chat(self) -> bool:
        """True where a chat template renders its prompts."""
        return any(benchmark.is_chat for benchmark in self.benchmarks)

    def all_digests(self) -> dict[str, str]:
        """Return ``digests``, and those of the test splits, which are read for it.

        A test split decides what training and validation may hold, and a winner's last score.
        """
        tests = {
            f"{benchmark.name}/test": split_digest(benchmark.test())
            for benchmark in self.benchmarks
            if benchmark.num_test
        }
        return self.digests | tests

    def only(self, benchmarks: Collection[str]) -> Task:
        """Return the task with these of its benchmarks alone, by name."""
        kept = tuple(one for one in self.benchmarks if one.name in benchmarks)
        return replace(self, benchmarks=kept)

    def without_training_texts(self) -> Task:
        """Return the task without its training examples, once these have been tokenised."""
        benchmarks = tuple(replace(one, train=()) for one in self.benchmarks)
        mixture = None if self.mixture is None else replace(self.mixture, train=())
        return replace(self, benchmarks=benchmarks, mixture=mixture)

    def training_examples(self) -> tuple[tuple[TrainingSet, Example], ...]:
        """Return every training example with the data set that says how it is prompted."""
        trained_on = self.benchmarks if self.mixture is None else (self.mixture,)
        return tuple((one, example) for one in trained_on for example in one.train)


def split_digest(examples: Iterable[Example]) -> str:
    """Return the sha256, in hex, over the examples' digests in their order."""
    return hashlib.sha256("\n".join(example.digest for example in examples).encode()).hexdigest()


def split_sizes(task: Task) -> dict[str, dict[str, int]]:
    """Return the examples of each benchmark and the mixture per split, and ``left_out``."""
    sizes = {}
    data_sets: list[TrainingSet] = [*task.benchmarks]
    if task.mixture is not None:
        data_sets.append(task.mixture)
    for one in data_sets:
        counts = {split: len(examples) for split, examples in one.splits().items()}
        if isinstance(one, Benchmark):
            counts["test"] = one.num_test
        sizes[one.name] = {**counts, "left_out": one.num_left_out}
    return sizes
