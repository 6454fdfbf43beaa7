"""The answer in a few sentences, for a reader who reads nothing else.

It is given per benchmark: a mean over benchmarks may be settled where one of them is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.analysis.search_decision import Verdict
from droplora_sweep.analysis.text import WHAT_HELPS
from droplora_sweep.analysis.trials import MEAN
from droplora_sweep.present.wording import points, share

from .answers import Certainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.analysis.intervals import Estimate

    from .answers import Answer

SUREST_FIRST = (
    Certainty.SETTLED,
    Certainty.OPEN,
    Certainty.HINT,
    Certainty.NOTHING,
    Certainty.NONE,
)


@dataclass(frozen=True)
class Headline:
    """What to do, how sure that is, and why.

    Attributes:
        advice: What to do, for every benchmark.
        settings: What goes with the rate; "" where nothing else was searched, or where benchmarks
            have settings of their own.
        certainty: How sure the least sure benchmark is.
        sure: The same in words; of several benchmarks, which are how sure.
        reason: Why, in plain words; of the mean where there are several benchmarks.
        overall: What to do for one adapter for all benchmarks; "" where there is one alone.
    """

    advice: str
    settings: str
    certainty: Certainty
    sure: str
    reason: str
    overall: str


def headline(answers: tuple[Answer, ...]) -> Headline:
    """Sum up the answers, of which the first is the mean or the only benchmark."""
    first, *others = answers
    told = others or answers
    settings = f"With {first.settings} (as {first.short_trial})." if first.settings else ""
    return Headline(
        advice=" ".join(
            _advice(kind, _uses(some, told, has_several=bool(others)))
            for kind, some in _kinds(told)
        ),
        settings="" if others else settings,
        certainty=max((one.certainty for one in told), key=SUREST_FIRST.index),
        sure=_sure(told),
        reason=_reason(first),
        overall=_overall(first) if others else "",
    )


def _kinds(answers: Sequence[Answer]) -> list[tuple[Certainty, list[Answer]]]:
    """The answers that are equally sure together, the surest first."""
    kinds = [(kind, [one for one in answers if one.certainty is kind]) for kind in SUREST_FIRST]
    return [(kind, some) for kind, some in kinds if some]


def _advice(kind: Certainty, use: str) -> str:
    match kind:
        case Certainty.SETTLED:
            return f"Use {use}."
        case Certainty.OPEN:
            return f"Not settled: use {use} until more runs settle it."
        case Certainty.HINT:
            return f"Try {use}; nothing is confirmed yet."
        case Certainty.NOTHING:
            return f"There is nothing to decide{use} yet."
        case _:
            return f"There is no answer{use} yet."


def _uses(answers: Sequence[Answer], among: Sequence[Answer], *, has_several: bool) -> str:
    """``a pruning rate of 0.2 on arc and gsm, and no pruning (p = 0) on code``."""
    subjects: dict[float | None, list[str]] = {}
    for one in answers:
        subjects.setdefault(one.pruning_rate, []).append(one.subject)
    parts = []
    for rate, names in subjects.items():
        use = "no pruning (p = 0)" if rate == 0 else f"a pruning rate of {rate:g}" if rate else ""
        if len(names) < len(among):
            use += f" on {_listed(names)}"
        elif has_several and use:
            use += " on every benchmark"
        parts.append(use)
    return ", and ".join(parts)


def _sure(answers: Sequence[Answer]) -> str:
    """``confirmed``, or ``confirmed on arc; still open on gsm``."""
    kinds = _kinds(answers)
    if len(kinds) == 1:
        return str(kinds[0][0])
    return "; ".join(f"{kind} on {_listed([one.subject for one in some])}" for kind, some in kinds)


def _overall(mean: Answer) -> str:
    rate = mean.pruning_rate
    if rate is None:
        return ""
    return f"One adapter for all benchmarks, by their mean: p = {rate:g} ({mean.certainty})."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _reason(answer: Answer) -> str:
    if answer.certainty is Certainty.NOTHING:
        return f"{_capitalised(answer.verdict)}. {_capitalised(WHAT_HELPS)}."
    if answer.pruning_rate is None:
        return f"{_capitalised(answer.verdict)}."
    if answer.certainty is Certainty.HINT:
        return _hint(answer)
    parts = [f"In {_what(answer)}: {answer.verdict}."]
    if answer.gain is not None:
        parts.append(
            f"Trained again with the same {answer.num_seeds} seeds, p = {answer.gain_of:g} scores "
            f"{points(answer.gain)} against p = 0."
        )
    if answer.own_gain is not None:
        parts.append(f"Against p = 0 with its own other settings it is {points(answer.own_gain)}.")
    if answer.probability_best is not None:
        parts.append(
            f"p = {answer.pruning_rate:g} is the best of the rates that were confirmed with "
            f"{share(answer.probability_best)} probability."
        )
    if answer.certainty is Certainty.OPEN and answer.gain is not None:
        parts.append(_inside(answer.gain))
    return " ".join(filter(None, parts))


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _hint(answer: Answer) -> str:
    one_seed = "Each setting was trained once, so luck is not ruled out."
    if answer.gain is None or answer.gain_of is None:
        return f"{_capitalised(answer.verdict)}. {one_seed}"
    shown = (
        f"The best trial with pruning (p = {answer.gain_of:g}) scores {points(answer.gain)} "
        f"against the best without, in {_what(answer)}."
    )
    if answer.explored is Verdict.CANNOT_TELL:
        return f"{shown} {_inside(answer.gain) or _corrected()} {one_seed}"
    return f"{shown} That is {answer.explored}, among these trials. {one_seed}"


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
