"""The answer in two sentences, for a reader who reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.selection import MEAN, ConfirmedVerdict, Verdict
from droplora_sweep.selection.sentences import WHAT_HELPS

from .contents.answers import Certainty
from .wording import points, share

if TYPE_CHECKING:
    from droplora_sweep.selection import Estimate

    from .contents.answers import Answer


@dataclass(frozen=True)
class Headline:
    """What to do, how sure that is, and why.

    Attributes:
        advice: What to do.
        settings: What goes with the rate; "" where nothing else was searched.
        certainty: How sure it is.
        reason: Why, in plain words.
        differences: Where single benchmarks answer otherwise than the mean; "" if none does.
    """

    advice: str
    settings: str
    certainty: Certainty
    reason: str
    differences: str


def headline(answers: tuple[Answer, ...]) -> Headline:
    """Sum up the answers, of which the first is the mean or the only benchmark."""
    first = answers[0]
    settings = f"With {first.settings} (as {first.short_trial})." if first.settings else ""
    return Headline(
        _advice(first), settings, first.certainty, _reason(first), _differences(answers)
    )


def _advice(answer: Answer) -> str:
    rate = answer.pruning_rate
    if answer.certainty is Certainty.NOTHING:
        return "There is nothing to decide yet."
    if rate is None:
        return "There is no answer yet."
    use = f"a pruning rate of {rate:g}" if rate > 0 else "no pruning (p = 0)"
    match answer.certainty:
        case Certainty.SETTLED:
            return f"Use {use}."
        case Certainty.OPEN:
            return f"Use {use} until more runs settle it."
        case _:
            return f"Try {use}; nothing is confirmed yet."


def _reason(answer: Answer) -> str:
    if answer.certainty is Certainty.NOTHING:
        return f"{_capitalised(answer.verdict)}. {_capitalised(WHAT_HELPS)}."
    if answer.pruning_rate is None:
        return answer.verdict
    if answer.certainty is Certainty.HINT:
        return _hint(answer)
    parts = []
    if answer.gain is not None:
        parts.append(
            f"Trained again with the same {answer.num_seeds} seeds, p = {answer.gain_of:g} scores "
            f"{points(answer.gain)} against p = 0, in {_what(answer)}."
        )
    if answer.own_gain is not None:
        parts.append(f"Against p = 0 with its own other settings it is {points(answer.own_gain)}.")
    if answer.probability_best is not None:
        parts.append(
            f"p = {answer.pruning_rate:g} is the best of the rates that were confirmed with "
            f"{share(answer.probability_best)} probability."
        )
    if answer.verdict == ConfirmedVerdict.CANNOT_TELL and answer.gain is not None:
        parts.append(_inside(answer.gain))
    return " ".join(parts)


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _hint(answer: Answer) -> str:
    one_seed = "Each setting was trained once, so luck is not ruled out."
    if answer.gain is None or answer.gain_of is None:
        return f"{answer.verdict[:1].upper()}{answer.verdict[1:]}. {one_seed}"
    shown = (
        f"The best trial with pruning (p = {answer.gain_of:g}) scores {points(answer.gain)} "
        f"against the best without, in {_what(answer)}."
    )
    if answer.verdict == Verdict.CANNOT_TELL:
        return f"{shown} {_inside(answer.gain) or _corrected()} {one_seed}"
    return f"{shown} That is {answer.verdict}, among these trials. {one_seed}"


def _inside(gain: Estimate) -> str:
    if gain.low <= 0 <= gain.high:
        return "No difference at all lies within that interval: the data cannot tell the two apart."
    return ""


def _corrected() -> str:
    return "After correction for the choice among many trials that is no evidence of a difference."


def _what(answer: Answer) -> str:
    if answer.subject == MEAN:
        return "the mean over the benchmarks"
    return answer.subject


def _differences(answers: tuple[Answer, ...]) -> str:
    first, *others = answers
    if first.pruning_rate is None:
        return ""
    apart = [
        f"{one.subject} p = {one.pruning_rate:g} ({one.certainty})"
        for one in others
        if one.pruning_rate is not None and one.pruning_rate != first.pruning_rate
    ]
    return f"Single benchmarks point elsewhere: {', '.join(apart)}." if apart else ""
