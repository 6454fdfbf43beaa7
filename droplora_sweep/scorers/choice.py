"""Choice answers: the option that a response names."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .scorer import Answer, ProtocolName, Scorer, StopRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


RELEASED_OPTIONS: Final = frozenset(
    {
        ("true", "false"),
        ("solution1", "solution2"),
        ("answer1", "answer2", "answer3", "answer4", "answer5"),
        ("ending1", "ending2", "ending3", "ending4"),
        ("option1", "option2"),
    }
)
"""Options that the released rules name; the text around one in a response does not count."""
ANSWER_PREFIX: Final = "the correct answer is "
"""Text before the option in every response of the LLM-Adapters choice data."""
_SPACE: Final = " \t\r\n"


@dataclass(frozen=True, kw_only=True)
class ChoiceScorer(Scorer):
    """Scorer of the option that a response names."""

    needs = ("options",)

    @property
    def closed_answers(self) -> tuple[str, ...]:
        """The options."""
        return self.options

    def sample_question(self) -> str:
        """Return a question that lists the options."""
        given = " ".join(f"{name}: {name} itself" for name in self.options)
        return f"Which of these comes first?\n\n{given}\n\nAnswer format: {'/'.join(self.options)}"

    def gold_problem(self, gold: str) -> str | None:
        """Refuse what is no option."""
        if gold in self.options:
            return None
        return f"must be one of {', '.join(self.options)}, got {gold!r}"

    def stated(self, gold: str, protocol: ProtocolName) -> str:
        """Return the option."""
        del protocol
        return gold

    def stop_rule(self, protocol: ProtocolName) -> StopRule:
        """End where the option that counts can no longer change."""
        options = self.options
        if protocol == "strict":
            return StopRule(lambda text: not may_become_choice(text, options))
        if options not in RELEASED_OPTIONS:
            return StopRule(lambda text: _option_is_settled(text, options), endings=options)
        return StopRule(lambda text: _first_option_is_settled(text, options), endings=options)

    def read(self, response: str, gold: str, protocol: ProtocolName) -> Answer:
        """Read the option by the protocol."""
        read = extract_choice if protocol == "paper" else read_choice
        prediction = read(response, self.options)
        return Answer(prediction, correct=prediction == gold)


def extract_choice(response: str, options: Sequence[str]) -> str | None:
    """Return the first option that the response holds, case-sensitively; None without one.

    "The correct answer is answer3, not answer1" answers ``answer3``. The released rules look for
    their own options anywhere, inside of words too: "untrue" answers ``true`` and "answer12"
    ``answer1``. Any other option is only read where it stands by itself, so that neither
    ``class1`` is read from "class10" nor ``A`` from "Answer"; of two that begin at the same place
    the longer one is read.
    """
    if tuple(options) in RELEASED_OPTIONS:
        match = re.search("|".join(map(re.escape, options)), response)
        return match.group() if match else None
    found = next(find_options(response, options), None)
    return None if found is None else found[1]


def find_options(response: str, options: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield where options stand by themselves: the first one first, of two the longer."""
    places = (
        (start, -len(option), option)
        for option in options
        for start in _places(response, option)
        if stands_alone(response, start, start + len(option))
    )
    return ((start, option) for start, _, option in sorted(places))


def stands_alone(text: str, start: int, end: int) -> bool:
    """Return True if neither a word nor a number goes on over an end of this part of the text.

    Letters without upper and lower case count as signs of their own: Chinese has no spaces.
    """
    return not _goes_on(text, start) and not _goes_on(text, end)


def _goes_on(text: str, place: int) -> bool:
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if _is_of_a_word(before) and _is_of_a_word(after):
        return True
    # In "1.5" and "10,000" the mark is a part of the number.
    if after in ".,":
        return before.isdecimal() and text[place + 1 : place + 2].isdecimal()
    return before in ".," and after.isdecimal() and text[place - 2 : place - 1].isdecimal()


def _is_of_a_word(character: str) -> bool:
    return character == "_" or (
        character.isalnum() and unicodedata.category(character) not in ("Lo", "No")
    )


def _places(text: str, part: str) -> Iterator[int]:
    start = text.find(part)
    while start >= 0:
        yield start
        start = text.find(part, start + 1)


def read_choice(response: str, options: Sequence[str]) -> str | None:
    """Return the option that the whole response is; None if it says anything else.

    ``the correct answer is`` may stand before the option and a full stop behind it; spaces around
    do not count, upper and lower case do.
    """
    answer = response.strip(_SPACE).removeprefix(ANSWER_PREFIX)
    # An option may itself end in a full stop, as "p.m." does.
    return next((one for one in (answer, answer.removesuffix(".")) if one in options), None)


def may_become_choice(response: str, options: Sequence[str]) -> bool:
    """Return True if some continuation of the response is a choice, or it is one itself."""
    started = response.lstrip(_SPACE)
    forms = (f"{prefix}{option}." for prefix in ("", ANSWER_PREFIX) for option in options)
    return any(form.startswith(started) for form in forms) or (
        read_choice(response, options) is not None
    )


def _first_option_is_settled(text: str, options: Sequence[str]) -> bool:
    starts = [start for option in options if (start := text.find(option)) >= 0]
    if not starts:
        return False
    return not _may_still_come(text, options, min(starts))


def _option_is_settled(text: str, options: Sequence[str]) -> bool:
    """Return True if the first option that stands by itself does so whatever follows."""
    found = next(find_options(text, options), None)
    if found is None:
        return False
    start, option = found
    following = text[start + len(option) :]
    # A comma or full stop may turn out to be a part of a number.
    is_ended = len(following) > (following[:1] in (".", ","))
    return is_ended and not _may_still_come(text, options, start)


def _may_still_come(text: str, options: Sequence[str], first: int) -> bool:
    """Return True if an option has begun at or before the first one and is not complete."""
    return any(
        len(text) - start < len(option) and option.startswith(text[start:])
        for option in options
        for start in range(max(0, len(text) - len(option) + 1), first + 1)
    )
