"""A user's data: the benchmarks that it is, how its answers are scored, and how much there is."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.errors import InputError
from droplora_sweep.models.folders import has_chat_template
from droplora_sweep.spec import TaskSpec, local_folder
from droplora_sweep.spec.locations import is_url
from droplora_sweep.spec.task import CHAT
from droplora_sweep.tasks.contents import find_data, read_contents
from droplora_sweep.tasks.data_files import read_records
from droplora_sweep.tasks.entries import find_entries
from droplora_sweep.tasks.folders import find_split_files
from droplora_sweep.tasks.formats import FORMATS
from droplora_sweep.tasks.json_records import BadDataError
from droplora_sweep.tasks.reading import read_file
from droplora_sweep.tasks.registry import BENCHMARKS, BenchmarkEntry
from droplora_sweep.tasks.splits import normalised_text

from .answer_kinds import AnswerKind, Answers, kind_of_answers
from .columns import Layout, named_columns, recognise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.tasks.contents import Contents, Place
    from droplora_sweep.tasks.task import Example

BUILTIN: Final = "builtin"
BUILTIN_BENCHMARKS: Final = ("builtin_noisy", "builtin_math")
"""Those of the quickstart."""
DATA: Final = "--data"
MAX_CHOICES: Final = 100
"""Most options that a user may declare: each is scored for each example."""
FREE_TEXT: Final = "f1"
"""Scoring of longer texts, which are seldom given word by word: by the words that they share, which
needs no further package; the search follows their likelihood."""
_CODE_FORMATS: Final = ("humaneval", "mbpp", "mbpp_evalplus", "mbpp_plus")


@dataclass(frozen=True)
class Amount:
    """Different examples of one benchmark's files.

    Attributes:
        num_train: To train on.
        num_validation: In a validation file; 0 without one.
        num_test: In a test file; 0 without one.
    """

    num_train: int
    num_validation: int
    num_test: int


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Data as a search space refers to it.

    Attributes:
        name: Name for the task and the sweep.
        task: Values of the file's ``task`` section, without the sizes of splits.
        amounts: Examples by benchmark; none for built-in ones, which are generated.
        kinds: Kind of the answers, by benchmark.
        seen: What was found, one sentence each.
    """

    name: str
    task: Mapping[str, Any]
    amounts: Mapping[str, Amount]
    kinds: Mapping[str, AnswerKind]
    seen: tuple[str, ...]

    @property
    def is_own(self) -> bool:
        """True of a benchmark that this package does not know."""
        return isinstance(self.task["benchmarks"], dict)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of its benchmarks."""
        return tuple(self.task["benchmarks"])


class ChatUse(Enum):
    """Data that the chat template of a model's tokenizer renders."""

    NEVER = auto()
    """It has none, or is not on this machine."""
    CONVERSATIONS = auto()
    """The built-in model is no instruct model, though its tokenizer has a template."""
    ALWAYS = auto()


def chat_use(model: str) -> ChatUse:
    """Return the data that a model's chat template is to render."""
    if model == BUILTIN:
        return ChatUse.CONVERSATIONS
    return ChatUse.ALWAYS if has_chat_template(local_folder(model)) else ChatUse.NEVER


@dataclass(frozen=True, kw_only=True)
class Hints:
    """Facts that a user gives beside the place of the data.

    Attributes:
        question: Column that asks; found by its name where None.
        answer: Column that answers; found by its name where None.
        kind: Kind of the answers; found by them where None.
        chat: Data that the model's chat template renders.
    """

    question: str | None = None
    answer: str | None = None
    kind: AnswerKind | None = None
    chat: ChatUse = ChatUse.NEVER

    @property
    def names_columns(self) -> bool:
        """True where the records are described."""
        return any((self.question, self.answer, self.kind))


NO_HINTS: Final = Hints()


def look_at_data(data: str, hints: Hints = NO_HINTS) -> OwnData:
    """Read a file or folder and say what it is.

    Args:
        data: ``builtin``, a file of records or its URL, a folder with ``train.json`` and so on, the
            folder of a known benchmark, or one that holds such folders.
        hints: What a user says of it.

    Raises:
        InputError: It is not there, cannot be read, or its columns cannot be told.
    """
    if data == BUILTIN:
        return OwnData(
            name=BUILTIN,
            task={
                "name": BUILTIN,
                "benchmarks": list(BUILTIN_BENCHMARKS),
                "num_train": 64,
                "num_test": 100,
            },
            amounts={},
            kinds={},
            seen=(f"built-in tasks: {', '.join(BUILTIN_BENCHMARKS)}",),
        )
    if not is_url(data) and not local_folder(data).exists():
        problem = f"must be builtin, a URL, or a file or folder that exists, got {data}"
        raise InputError.of(DATA, problem)
    try:
        place = find_data(data, None, [BenchmarkEntry(scoring="exact")], is_own=True)
        known = None if hints.names_columns or is_url(data) else _known(place.path)
        found = _own(place, hints) if known is None else known
    except BadDataError as error:
        raise InputError.of(DATA, "must be data that can be read: " + error.problems[0]) from error
    if known is not None and hints.chat is ChatUse.ALWAYS:
        return replace(found, task={**found.task, "prompt": CHAT})
    return found


def slug(text: str) -> str:
    """Return a text as a name for a benchmark or a sweep: letters, digits, ``_``, ``.``, ``-``.

    >>> slug("My data (v2)"), slug("…")
    ('My-data-v2', 'mine')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")[:48] or "mine"


def _known(path: Path) -> OwnData | None:
    """Return known benchmarks by the names of their folders; None where there are none to train."""
    if not path.is_dir():
        return None
    own = [name for name, entry in _with_folders() if path.name in entry.folders]
    inside = [
        name
        for name, entry in _with_folders()
        if any((path / folder).is_dir() for folder in entry.folders)
    ]
    place, names = (path, inside) if inside else (path.parent, own)
    spec = TaskSpec(data=str(place), benchmarks=tuple(names or ["none"]), num_validation=1)
    amounts: dict[str, Amount] = {}
    left_out: list[str] = []
    for name in names:
        try:
            contents = read_contents(name, BENCHMARKS[name], place, spec)
        except BadDataError:
            left_out.append(name)
            continue
        if contents.source.train:
            amounts[name] = _amount(contents)
        else:
            left_out.append(name)
    if not amounts:
        return None
    seen = [f"{name}: a known benchmark, {_amount_text(one)}" for name, one in amounts.items()]
    if left_out:
        seen.append(f"left out, since they have nothing to train on here: {', '.join(left_out)}")
    return OwnData(
        name=slug(next(iter(amounts)) if len(amounts) == 1 else place.name),
        task={
            "name": slug(place.name if len(amounts) > 1 else next(iter(amounts))),
            "benchmarks": list(amounts),
            "data": str(place),
        },
        amounts=amounts,
        kinds={name: AnswerKind(BENCHMARKS[name].scoring or "exact") for name in amounts},
        seen=tuple(seen),
    )


def _with_folders() -> Iterator[tuple[str, BenchmarkEntry]]:
    for name, entry in BENCHMARKS.items():
        if not entry.is_builtin and not entry.scorer.is_rated:
            yield name, entry


def _own(place: Place, hints: Hints) -> OwnData:
    """Return the one benchmark that a user's own files are.

    Raises:
        BadDataError: They cannot be read.
        InputError: Their columns cannot be told.
    """
    path = file = place.path
    if path.is_dir():
        files = find_split_files(path, BenchmarkEntry(scoring="exact"), is_own=True)
        files.check_validation()
        found = files.train or files.validation
        assert found is not None, "it has one of them"
        file = found
    layout = _layout(file, hints)
    form = layout.format or "llm_adapters"
    is_conversation = FORMATS[form].is_conversation
    is_chat = hints.chat is ChatUse.ALWAYS or (
        is_conversation and hints.chat is ChatUse.CONVERSATIONS
    )
    entry = BenchmarkEntry(scoring="exact", formats=(form,), fields=layout.fields, is_chat=is_chat)
    content = read_file(file, entry, "train", skip_bad=True)
    answers = _answers(layout, content.examples, hints)
    given = PurePosixPath(place.given.partition("?")[0])
    name = slug((given.parent if given.stem == "train" else given).name.partition(".")[0])
    spec: dict[str, Any] = {"data": place.given}
    if layout.format not in (None, "llm_adapters"):
        spec["format"] = layout.format
    spec["scoring"] = _scoring(answers.kind)
    if answers.options:
        spec["options"] = list(answers.options)
    if layout.fields:
        spec["fields"] = dict(layout.fields)
    prompt = {"prompt": CHAT} if is_chat else {}
    task: dict[str, Any] = {"name": name, **prompt, "benchmarks": {name: spec}}
    try:
        contents, problem = _contents(name, task, path), None
    except BadDataError as error:
        task["on_bad_record"] = "skip"
        contents, problem = _contents(name, task, path), error.problems[0]
    amount = _amount(contents)
    columns = ", ".join(f"{field} from {column}" for field, column in layout.fields.items())
    seen = [
        f"{name}: {_amount_text(amount)}, {columns or f'in the layout {layout.format}'}",
        f"scored as {answers.kind}: {answers.why}",
    ]
    if problem is not None:
        seen.append(f"some records cannot be used, the first: {problem}")
    return OwnData(
        name=name, task=task, amounts={name: amount}, kinds={name: answers.kind}, seen=tuple(seen)
    )


def _layout(file: Path, hints: Hints) -> Layout:
    records, problems = read_records(file)
    first = next((record for _, record in records if isinstance(record, dict)), None)
    if first is None:
        raise BadDataError(problems[0] if problems else f"{file}: must hold records, got none")
    for option, column in (("--question", hints.question), ("--answer", hints.answer)):
        if column is not None and column not in first:
            problem = f"must be one of the columns {', '.join(first)}, got {column}"
            raise InputError.of(option, problem)
    if hints.question or hints.answer:
        layout = named_columns(first, hints.question, hints.answer)
    else:
        layout = recognise(first)
    if layout is None:
        problem = f"must name the column that asks, with --answer the one that answers, of {file}"
        raise InputError.of("--question", f"{problem}: it has {', '.join(first)}")
    return layout


def _answers(layout: Layout, examples: tuple[Example, ...], hints: Hints) -> Answers:
    given = [example.answer for example in examples]
    if hints.kind is None and layout.format in _CODE_FORMATS:
        return Answers(AnswerKind.CODE, (), "the records have tests")
    if hints.kind is None:
        return kind_of_answers(given)
    options: tuple[str, ...] = ()
    if hints.kind is AnswerKind.CHOICE:
        options = tuple(sorted(set(given)))
        if not 2 <= len(options) <= MAX_CHOICES:
            problem = f"must be another where answers are no 2 to {MAX_CHOICES} options, got choice"
            raise InputError.of("--kind", f"{problem}: the data has {len(options)} answers")
    return Answers(hints.kind, options, "as you say")


def _scoring(kind: AnswerKind) -> str:
    return FREE_TEXT if kind is AnswerKind.TEXT else kind.value


def _contents(name: str, task: Mapping[str, Any], path: Path) -> Contents:
    spec = TaskSpec.model_validate({**task, "num_validation": 1})
    entries, faults = find_entries(spec)
    if faults:
        raise InputError(faults)
    return read_contents(name, entries[name], path, spec, is_own=True)


def _amount(contents: Contents) -> Amount:
    source = contents.source

    def count(examples: Sequence[Example] | None) -> int:
        return len({normalised_text(example) for example in examples or ()})

    return Amount(count(source.train), count(source.validation), count(source.test))


def _amount_text(amount: Amount) -> str:
    parts = [f"{amount.num_train:,} examples to train on"]
    if amount.num_validation:
        parts.append(f"{amount.num_validation:,} to validate")
    parts.append(f"{amount.num_test:,} to test" if amount.num_test else "no test file")
    return ", ".join(parts)
