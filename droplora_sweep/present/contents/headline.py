"""The answer in a few sentences, and the one command to run next.

It is given per benchmark: a mean over benchmarks may be settled where one of them is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.analysis.estimate import listed
from droplora_sweep.analysis.search_decision import Verdict
from droplora_sweep.analysis.text import WHAT_HELPS
from droplora_sweep.present.values import command_text, format_gain, format_probability
from droplora_sweep.records.layout import SPEC
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.spec.metric_names import MEAN

from .answers import Certainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.analysis.estimate import Estimate

    from .answers import Answer
    from .facts import Facts


@dataclass(frozen=True)
class NextStep:
    """A command to run, and its purpose."""

    command: str
    purpose: str

    @property
    def text(self) -> str:
        """One line."""
        return f"next: {self.command} ({self.purpose})"


def next_step(facts: Facts, answers: tuple[Answer, ...]) -> NextStep:
    """Go on, settle what is open, or take the adapter out, whichever is due.

    Args:
        facts: The sweep's.
        answers: The mean's first, where there are several benchmarks.
    """
    record, storage = facts.record, facts.storage
    if facts.is_live:
        command = command_text("status", record.name, storage=storage)
        return NextStep(command, "shows its progress")
    if record.outcome in (None, SweepOutcome.INTERRUPTED):
        command = command_text("resume", record.name, storage=storage)
        return NextStep(command, "resumes it where it was interrupted")
    kinds = {one.certainty for one in answers}
    if kinds == {Certainty.NOTHING}:
        epochs = 2 * record.spec["training"]["epochs"]
        name = ["--name", f"{record.name}-longer"]
        command = _again(storage, record.name, name, [f"training.epochs={epochs}"])
        return NextStep(command, "trains twice as long, as a sweep of its own")
    if answers[0].pruning_rate is None:
        command = command_text("status", record.name, storage=storage)
        return NextStep(command, "shows what became of each trial")
    confirm = record.spec.get("confirm") or {}
    hours = confirm.get("gpu_hours") if facts.is_held else None
    if hours and kinds & {Certainty.OPEN, Certainty.HINT}:
        command = _again(storage, record.name, [], [f"confirm.gpu_hours={2 * hours:g}"])
        return NextStep(command, "continues the confirmation with twice the GPU hours")
    if Certainty.OPEN in kinds:
        most = 2 * max(confirm.get("max_seeds") or 0, confirm["seeds"])
        settings = [f"confirm.max_seeds={most}"]
        if confirm.get("max_runs"):
            settings.append("confirm.max_runs=null")
        if confirm.get("gpu_hours"):
            settings.append("confirm.gpu_hours=null")
        command = _again(storage, record.name, ["--fork", f"{record.name}-more"], settings)
        purpose = f"takes over what is trained, and adds seeds, up to {most}, where it is open"
        return NextStep(command, purpose)
    can_confirm = any(one.pruned is not None for one in facts.decisions)
    if Certainty.HINT in kinds and can_confirm and not facts.record.confirm_trials:
        command = _again(
            storage, record.name, [], ["confirm={examples: validation, max_seeds: 12}"]
        )
        purpose = (
            "trains the best settings and p = 0 again with new seeds, up to 12 where it is open, "
            "and decides"
        )
        return NextStep(command, purpose)
    task = answers[0].subject
    output = f"{record.name}-{task}"
    command = command_text(
        "export", record.name, "--task", task, "--output", output, storage=storage
    )
    return NextStep(command, "writes the adapter to use")


def _again(storage: str, name: str, options: list[str], settings: list[str]) -> str:
    """Return a run of the sweep's own file with other settings."""
    file = str(PurePosixPath(storage) / name / SPEC)
    return command_text(
        "run", file, *options, *(part for each in settings for part in ("--set", each))
    )


SUREST_FIRST = (
    Certainty.SETTLED,
    Certainty.UNLIKELY,
    Certainty.OPEN,
    Certainty.HINT,
    Certainty.NOTHING,
    Certainty.NONE,
)


@dataclass(frozen=True)
class Headline:
    """Advice, its certainty, and the reason.

    Attributes:
        advice: The rate to use, for every benchmark.
        settings: Values that go with the rate; "" where nothing else was searched, or benchmarks
            have settings of their own.
        certainty: That of the least sure benchmark.
        sure: The same in words; of several benchmarks, which are how sure.
        reason: The grounds in plain words; of the mean where there are several benchmarks.
        overall: The rate for one adapter for all benchmarks; "" where there is one alone.
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
        case Certainty.UNLIKELY:
            return f"Use {use}: the planned seeds are unlikely to show a gain from pruning."
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
            use += f" on {listed(names)}"
        elif has_several and use:
            use += " on every benchmark"
        parts.append(use)
    return ", and ".join(parts)


def _sure(answers: Sequence[Answer]) -> str:
    """``confirmed``, or ``confirmed on arc; still open on gsm``."""
    kinds = _kinds(answers)
    if len(kinds) == 1:
        return str(kinds[0][0])
    return "; ".join(f"{kind} on {listed([one.subject for one in some])}" for kind, some in kinds)


def _overall(mean: Answer) -> str:
    rate = mean.pruning_rate
    if rate is None:
        return ""
    return f"One adapter for all benchmarks, by their mean: p = {rate:g} ({mean.certainty})."


def _reason(answer: Answer) -> str:
    if answer.certainty is Certainty.NOTHING:
        return f"{_capitalised(answer.verdict)}. {_capitalised(WHAT_HELPS)}."
    if answer.pruning_rate is None:
        # A benchmark may have scores where the mean has none.
        place = f"in {_what(answer)}: " if answer.subject == MEAN else ""
        return _capitalised(f"{place}{answer.verdict}.")
    if answer.certainty is Certainty.HINT:
        return _hint(answer)
    parts = [f"In {_what(answer)}: {answer.verdict}."]
    if answer.gain is not None:
        parts.append(
            f"Trained again with the same {answer.num_seeds} seeds, p = {answer.gain_of:g} scores "
            f"{format_gain(answer.gain)} against p = 0."
        )
    if answer.own_gain is not None:
        parts.append(
            f"Against p = 0 with its own other settings it is {format_gain(answer.own_gain)}."
        )
    if answer.probability_best is not None:
        parts.append(
            f"p = {answer.pruning_rate:g} is the best of the rates that were confirmed with "
            f"{format_probability(answer.probability_best)} probability."
        )
    if answer.certainty is Certainty.OPEN and answer.least_gain is not None:
        parts.append(_inside(answer.least_gain))
    return " ".join(filter(None, parts))


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _hint(answer: Answer) -> str:
    one_seed = "Each setting was trained once, so luck is not ruled out."
    if answer.gain is None or answer.gain_of is None:
        return f"{_capitalised(answer.verdict)}. {one_seed}"
    shown = (
        f"The best trial with pruning (p = {answer.gain_of:g}) scores {format_gain(answer.gain)} "
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
