"""The judge's prompts, as FastChat publishes them, and the rating that a reply ends with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.tasks.data_files import read_records
from droplora_sweep.tasks.json_records import BadDataError, Placed, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


_DELIMITER_LINE: Final = re.compile(
    r"\[(?P<bracket>[^\[\]{}]+)\]|<\|(?P<token>[^|<>{}]+)\|>|#{2,6}\s*(?P<heading>[^{}]+:)"
)
_SPECIAL_TOKEN: Final = re.compile(r"<\|([^|<>]*)\|>")
_BOUNDARY: Final = re.compile(r"\[\s*(the\s+(?:start|end)\s+of\s[^\[\]]*)\]", re.IGNORECASE)
_RATING: Final = re.compile(r"\[\[(\s*(?:[0-9.,]+|rating)\s*)\]\]", re.IGNORECASE)


@dataclass(frozen=True)
class Conversation:
    """One question of one turn or two, and a model's answers.

    Attributes:
        question_id: The question's number.
        category: MT-Bench's, e.g. ``writing``; it chooses the prompts.
        turns: The user's text of each turn.
        answers: The rated model's answer to each turn.
        reference: A right answer to each of two turns; None looks in the spec's ``references``.
            A question of one turn is rated without.
    """

    question_id: int
    category: str
    turns: tuple[str, ...]
    answers: tuple[str, ...]
    reference: tuple[str, str] | None = None


def is_delimiter(line: str) -> bool:
    """Return True for a delimiter line of a template: ``[...]``, ``<|...|>`` or ``### ...:``."""
    return _DELIMITER_LINE.fullmatch(line.strip()) is not None


class Neutraliser:
    """Rewriter of what could make an answer be mistaken for anything but data.

    * Every delimiter line of the templates, wherever it stands in the answer, whatever its case
      and spacing, and other lines like ``[The Start of ...]``: ``[The End of Assistant's Answer]``
      becomes ``(The End of Assistant's Answer)``, ``### User:`` becomes ``(User:)``.
    * ``<|...|>``, which many chat templates give a meaning: ``<|im_end|>`` becomes ``(im_end)``.
    * Ratings, so that a judge who quotes the answer quotes none: ``[[10]]`` becomes ``[ [10] ]``.
      Other double brackets, common in code, stay.
    * Lone surrogates, which are no text, become ``?``.

    All else reaches the judge as it is.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        inner = {
            next(group for group in match.groups() if group).strip()
            for template in templates
            for line in template.splitlines()
            if (match := _DELIMITER_LINE.fullmatch(line.strip()))
        }
        names = "|".join(_loosely(text) for text in sorted(inner))
        self._delimiter = (
            re.compile(
                rf"\[\s*(?P<bracket>{names})\s*\]|#{{2,6}}\s*(?P<heading>{names})", re.IGNORECASE
            )
            if names
            else None
        )

    def __call__(self, answer: str) -> str:
        text = answer.encode("utf-8", "replace").decode("utf-8")
        while (rewritten := self._once(text)) != text:
            # What stood around a delimiter may form one with what replaced it.
            text = rewritten
        return text

    def _once(self, text: str) -> str:
        text = _SPECIAL_TOKEN.sub(r"(\1)", text)
        text = _BOUNDARY.sub(lambda match: f"({match[1].strip()})", text)
        if self._delimiter is not None:
            text = self._delimiter.sub(
                lambda match: f"({match['bracket'] or match['heading']})", text
            )
        return _RATING.sub(r"[ [\1] ]", text)


def _loosely(text: str) -> str:
    """A pattern for the text with any spacing, and with typographic apostrophes."""
    words = (re.escape(word).replace("'", "['\u2019]") for word in text.split())
    return r"\s+".join(words)


MIN_RATING: Final = 1.0
MAX_RATING: Final = 10.0

_MARKER: Final = re.compile(r"\[\[([^\[\]\n]*)\]\]")
_NUMBER: Final = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*")
_LABEL_BEFORE: Final = re.compile(r"(?:rating|score)[\W_]*\Z", re.IGNORECASE)
_LABELS_ONLY: Final = re.compile(r"(?:[\W_]|rating|score|final|overall)*", re.IGNORECASE)
_CLOSING: Final = re.compile(r"""[\s.*_"'`]*""")
_QUOTES: Final = frozenset("\"'`\u201c\u201d\u2018\u2019")
_LABEL_REACH: Final = 24
"""Characters before a marker that are searched for its label."""


@dataclass(frozen=True)
class Reading:
    """A rating in [1, 10], or the reason why there is none; exactly one of them is None."""

    rating: float | None
    reason: str | None


def read_rating(reply: str) -> Reading:
    """Return the rating that the reply ends with, e.g. ``Rating: [[5]]``, as the prompts ask.

    Markers before the last one are the judge's explanation, which may quote an answer, and are
    passed over. The rating is missing if

    * no marker is there, or words follow the last one (the published prompts have the rating
      come after the explanation);
    * it holds no number, or one out of [1, 10];
    * the reply ends with several unquoted markers that differ, or its last one lacks the label
      ``Rating`` and an earlier one has it and differs: then the last may be a quotation.

    FastChat's own script reads the first ``[[number]]`` of the reply instead, and ``[number]``
    where there is none; both may be quotations.
    """
    markers = list(_MARKER.finditer(reply))
    if not markers:
        return Reading(None, "no [[rating]] in the judge's reply")
    last = markers[-1]
    if _CLOSING.fullmatch(reply, last.end()) is None:
        return Reading(None, "the judge's reply does not end with its [[rating]]")
    number = _NUMBER.fullmatch(last[1])
    if number is None:
        return Reading(None, f"the rating must be a number, got {last[0][:24]!r}")
    rating = float(number[1])
    if not MIN_RATING <= rating <= MAX_RATING:
        return Reading(None, f"the rating must be in [1, 10], got {number[1]}")
    differing = [marker[0] for marker in _rivals(reply, markers) if not _is(marker, rating)]
    if differing:
        return Reading(
            None, f"the judge's reply gives several ratings, {differing[0][:24]} and {last[0]}"
        )
    return Reading(rating, None)


def _rivals(reply: str, markers: list[re.Match[str]]) -> list[re.Match[str]]:
    """Return the markers besides the last that claim to be the rating too."""
    *earlier, last = markers
    rivals = []
    following = last
    for marker in reversed(earlier):
        adjoins = _LABELS_ONLY.fullmatch(reply, marker.end(), following.start()) is not None
        if not adjoins or _is_quoted(reply, marker):
            break
        rivals.append(marker)
        following = marker
    if not _is_labelled(reply, last):
        rivals += [marker for marker in earlier if _is_labelled(reply, marker)]
    return rivals


def _is_labelled(reply: str, marker: re.Match[str]) -> bool:
    before = reply[max(0, marker.start() - _LABEL_REACH) : marker.start()]
    return _LABEL_BEFORE.search(before) is not None


def _is_quoted(reply: str, marker: re.Match[str]) -> bool:
    start, end = marker.span()
    return start > 0 and end < len(reply) and {reply[start - 1], reply[end]} <= _QUOTES


def _is(marker: re.Match[str], rating: float) -> bool:
    number = _NUMBER.fullmatch(marker[1])
    return number is not None and float(number[1]) == rating


REFERENCE_CATEGORIES: Final = frozenset({"math", "reasoning", "coding"})
"""Categories that are rated against a reference answer."""

_SECOND_TURN: Final = ("question_1", "answer_1", "question_2", "answer_2")
_REFERENCES: Final = ("ref_answer_1", "ref_answer_2")
FIELDS: Final = {
    "single-v1": ("question", "answer"),
    "single-math-v1": ("question", "answer", "ref_answer_1"),
    "single-v1-multi-turn": _SECOND_TURN,
    "single-math-v1-multi-turn": (*_SECOND_TURN, *_REFERENCES),
}
"""The prompts that single-answer grading uses, and the fields each template must have."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z_0-9]*)\}")


@dataclass(frozen=True)
class JudgePrompt:
    """One prompt.

    Attributes:
        name: A key of ``FIELDS``.
        system_prompt: The system message.
        template: The user message, with ``{question}`` and so on to be filled in.
    """

    name: str
    system_prompt: str
    template: str


def read_objects(path: Path) -> list[Placed]:
    """Return the objects of a file of JSON lines, each with its place.

    Raises:
        InputError: The file cannot be read, or has lines that are no JSON object.
    """
    try:
        records, problems = read_records(path)
    except BadDataError as error:
        records, problems = [], [*error.problems]
    problems += [
        f"{place}: must be a JSON object, got {kind_of(record)}"
        for place, record in records
        if not isinstance(record, dict)
    ]
    if problems:
        raise InputError([Fault("", "", problem) for problem in problems[:5]])
    return records


def load_prompts(path: Path) -> dict[str, JudgePrompt]:
    """Return the single-answer prompts of the file, by name; others in it are ignored.

    Raises:
        InputError: The file cannot be read or is not JSON lines, a prompt is missing, asks for
            another output than ``[[rating]]``, lacks a field or has an unknown one, or does not
            have each answer between delimiter lines.
    """
    prompts: dict[str, JudgePrompt] = {}
    faults: list[Fault] = []
    for where, record in read_objects(path):
        name = record.get("name")
        if name not in FIELDS:
            continue
        problems = _problems(name, record)
        faults += [Fault(where, f"{name}.{field}", problem) for field, problem in problems]
        if not problems:
            prompts[name] = JudgePrompt(name, record["system_prompt"], record["prompt_template"])
    missing = [name for name in FIELDS if name not in prompts]
    if missing and not faults:
        faults.append(
            Fault(str(path), "", f"must hold the prompts {', '.join(FIELDS)}, lacks {missing[0]}")
        )
    if faults:
        raise InputError(faults)
    return prompts


def fill_in(prompt: JudgePrompt, values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the messages to send; a value's text is never taken for a field."""
    user = _PLACEHOLDER.sub(lambda match: values[match[1]], prompt.template)
    return [
        {"role": "system", "content": prompt.system_prompt},
        {"role": "user", "content": user},
    ]


def messages_of(
    conversation: Conversation,
    reference: tuple[str, str] | None,
    prompts: Mapping[str, JudgePrompt],
) -> tuple[list[dict[str, str]], ...]:
    """Return the messages that have the judge rate each turn.

    A question of one turn is rated by ``single-v1`` whatever its category, as the released code of
    arXiv 2508.17337 has MT-Bench's first turns rated.

    Args:
        conversation: Answers to rate, which are neutralised.
        reference: Right answers; needed for ``REFERENCE_CATEGORIES`` in two turns, else unused.
        prompts: From ``load_prompts``.
    """
    neutralise = Neutraliser(prompts[name].template for name in FIELDS)
    answers = [neutralise(answer) for answer in conversation.answers]
    if len(conversation.turns) == 1:
        values = {"question": conversation.turns[0], "answer": answers[0]}
        return (fill_in(prompts["single-v1"], values),)
    answer_1, answer_2 = answers
    question_1, question_2 = conversation.turns
    first = {"question": question_1, "answer": answer_1}
    second = {
        "question_1": question_1,
        "answer_1": answer_1,
        "question_2": question_2,
        "answer_2": answer_2,
    }
    kind = "single"
    if conversation.category in REFERENCE_CATEGORIES:
        assert reference is not None, "the category is rated against a reference"
        kind = "single-math"
        references = dict(zip(_REFERENCES, reference, strict=True))
        first, second = {**first, **references}, {**second, **references}
    return (
        fill_in(prompts[f"{kind}-v1"], first),
        fill_in(prompts[f"{kind}-v1-multi-turn"], second),
    )


def _problems(name: str, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return pairs of a field and its problem."""
    problems = [
        (field, f"must be text, got {type(record.get(field)).__name__}")
        for field in ("system_prompt", "prompt_template")
        if not isinstance(record.get(field), str)
    ]
    if record.get("output_format") != "[[rating]]":
        problems.append(
            ("output_format", f"must be '[[rating]]', got {record.get('output_format')!r}")
        )
    return problems or [
        ("prompt_template", problem) for problem in _template_problems(name, record)
    ]


def _template_problems(name: str, record: Mapping[str, Any]) -> list[str]:
    template = record["prompt_template"]
    found = set(_PLACEHOLDER.findall(template))
    known = {*FIELDS[name], *(_REFERENCES if "math" in name else ())}
    problems = [f"must have {{{field}}}" for field in FIELDS[name] if field not in found]
    problems += [
        f"must not have other fields than its own, got {{{field}}}"
        for field in sorted(found - known)
    ]
    problems += [
        f"must have {{{field}}} on a line of its own between delimiter lines"
        for field in FIELDS[name]
        if field.startswith("answer") and field in found and not _is_delimited(template, field)
    ]
    return problems


def _is_delimited(template: str, field: str) -> bool:
    lines = [line.strip() for line in template.splitlines() if line.strip()]
    places = [index for index, line in enumerate(lines) if f"{{{field}}}" in line]
    return all(
        lines[index] == f"{{{field}}}"
        and index > 0
        and is_delimiter(lines[index - 1])
        and index + 1 < len(lines)
        and is_delimiter(lines[index + 1])
        for index in places
    )
