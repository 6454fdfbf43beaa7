"""Sweeps side by side: the answer of each, and how far the answers differ.

Scores are only subtracted where they were read alike; where the examples are others too, the
difference is labelled as not paired. Every pair says how it was compared, or why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.analysis.pairing import Contrast, paired_runs, paired_trials, unpaired
from droplora_sweep.present.values import DASH, format_gain, format_interval, format_score, plural
from droplora_sweep.spec.metric_names import MEAN

from .answers import Answer, answers
from .facts import leaves, setting_text
from .table import Cell, Table, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.analysis.evidence import Scores

    from .facts import Facts


READ_BY = (
    "evaluation.protocol",
    "evaluation.choice",
    "evaluation.max_new_tokens",
    "evaluation.on_long_prompt",
    "evaluation.sampling",
    "evaluation.judge",
    "task.prompt",
)
"""Fields that change how a response comes about or is read, and so the meaning of a score."""

WHAT_TRAINS = ("model", "task", "adapter", "training", "evaluation")


@dataclass(frozen=True)
class Contender:
    """One of the sweeps that are compared.

    Attributes:
        label: The user's name for it.
        facts: Those of the sweep.
        scores: A trial's score on each example by its id, None where it has none.
    """

    label: str
    facts: Facts
    scores: Callable[[str], Scores | None]


@dataclass(frozen=True)
class Side:
    """A contender against the first one, on one subject.

    Attributes:
        contrast: The contender minus the first; None where they cannot be compared.
        how: The way of the comparison, or why there is none.
        compared: The two scores that are subtracted, which need not be the answers' own: the
            contender's, the first one's, and the split they are from; "" where they are.
    """

    contrast: Contrast | None
    how: str
    compared: str = ""


@dataclass(frozen=True)
class Subject:
    """One subject.

    Attributes:
        name: A benchmark, or ``mean``.
        answers: One per contender; None where its sweep does not have the subject.
        sides: One per contender but the first.
    """

    name: str
    answers: tuple[Answer | None, ...]
    sides: tuple[Side, ...]


def compare(contenders: Sequence[Contender]) -> tuple[Subject, ...]:
    """Compare each contender with the first, on every subject that any of them has."""
    found = [{one.subject: one for one in answers(each.facts)} for each in contenders]
    subjects = dict.fromkeys(subject for each in found for subject in each)
    first, *others = contenders
    return tuple(
        Subject(
            subject,
            tuple(each.get(subject) for each in found),
            tuple(_side(first, other, subject) for other in others),
        )
        for subject in subjects
    )


def different_settings(contenders: Sequence[Contender]) -> list[tuple[str, tuple[str, ...]]]:
    """Return settings that differ: dotted path, and each contender's value as text."""
    told = [
        {
            path: setting_text(value)
            for section in WHAT_TRAINS
            for path, value in leaves(section, each.facts.record.spec.get(section))
        }
        for each in contenders
    ]
    paths = dict.fromkeys(path for each in told for path in each)
    rows = [(path, tuple(each.get(path, "not set") for each in told)) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def compared_trials(contender: Contender) -> tuple[str, ...]:
    """The trials that a comparison rests on: the confirmed arms' runs, or the search's best."""
    ids: dict[str, None] = {}
    for subject in contender.facts.subjects:
        decision = contender.facts.confirmation(subject)
        best = contender.facts.decision(subject)
        if decision is not None and decision.recommended is not None:
            ids.update(dict.fromkeys(_runs(contender, subject).values()))
        elif best is not None and best.best is not None:
            ids[best.best.trial_id] = None
    return tuple(ids)


def _side(first: Contender, other: Contender, subject: str) -> Side:
    reason = _incomparable(first, other, subject)
    if reason:
        return Side(None, f"not compared: {reason}")
    runs = [_runs(each, subject) for each in (other, first)]
    splits = {each.facts.record.confirmed_on for each in (other, first)}
    split = first.facts.record.confirmed_on
    if all(runs) and len(splits) == 1 and _same_examples(first, other, subject, split):
        own, against = _scored(other, runs[0]), _scored(first, runs[1])
        contrast = paired_runs(own, against, _parts(first, subject))
        if contrast is not None:
            how = f"paired on {contrast.num_seeds} seeds and {contrast.num_examples:,} examples"
            return Side(contrast, how, f"on the {split} split")
    why = "the confirmed runs share no three seeds and examples; " if all(runs) else ""
    return _search_side(first, other, subject, why)


def _search_side(first: Contender, other: Contender, subject: str, why: str) -> Side:
    """Compare the best trials of both searches: examples are shared at best, each has one seed."""
    decisions = [each.facts.decision(subject) for each in (other, first)]
    bests = [one.best for one in decisions if one is not None and one.best is not None]
    if len(bests) < 2:
        return Side(None, "not compared: no complete trial with a score on both sides")
    shown = " and ".join(format_score(best.estimate or best.score) for best in bests)
    compared = f"{shown} on the validation split"
    reason = "the examples differ, and a difference may be theirs"
    if _same_examples(first, other, subject, "validation"):
        scores = other.scores(bests[0].trial_id), first.scores(bests[1].trial_id)
        contrast = paired_trials(scores[0], scores[1], _parts(first, subject))
        if contrast is not None:
            examples = f"{contrast.num_examples:,} examples"
            how = f"{why}best trials paired on {examples}, one seed each"
            return Side(contrast, how, compared)
        reason = "no results on the same examples are kept"
    own, against = (best.estimate for best in bests)
    if own is None or against is None:
        return Side(None, f"not compared: {reason}")
    return Side(unpaired(own, against), f"{why}NOT PAIRED: {reason}", compared)


def _incomparable(first: Contender, other: Contender, subject: str) -> str:
    """Return why scores of a subject mean different things; "" if they do not."""
    for each in (first, other):
        if subject not in each.facts.subjects:
            return f"{each.label} does not have it"
    if subject == MEAN and set(_parts(first, subject)) != set(_parts(other, subject)):
        return "the means are over other benchmarks"
    for path in READ_BY:
        values = [_field(each.facts.record.spec, path) for each in (first, other)]
        if values[0] != values[1]:
            return f"{path} is {setting_text(values[0])} and {setting_text(values[1])}"
    for name in _parts(first, subject):
        specs = [
            each.facts.record.spec["task"].get("benchmark_specs", {}).get(name, {}).get("scoring")
            for each in (first, other)
        ]
        if specs[0] != specs[1]:
            return f"{name} is scored by {setting_text(specs[0])} and {setting_text(specs[1])}"
    return ""


def _parts(contender: Contender, subject: str) -> tuple[str, ...]:
    if subject != MEAN:
        return (subject,)
    return tuple(name for name in contender.facts.subjects if name != MEAN)


def _runs(contender: Contender, subject: str) -> dict[int, str]:
    """The complete runs of the confirmed answer, by seed."""
    decision = contender.facts.confirmation(subject)
    if decision is None or decision.recommended is None:
        return {}
    return {
        trial.spec["seed"]: trial.trial_id
        for trial in contender.facts.record.confirm_trials
        if trial.arm == decision.recommended.name and trial.state == "COMPLETE"
    }


def _scored(contender: Contender, runs: Mapping[int, str]) -> dict[int, Scores]:
    found = {seed: contender.scores(trial_id) for seed, trial_id in runs.items()}
    return {seed: scores for seed, scores in found.items() if scores is not None}


def _same_examples(first: Contender, other: Contender, subject: str, split: str) -> bool:
    """Return True where both sweeps' digests of the scored examples are known and equal."""
    digests = [
        [each.facts.record.data_digests.get(f"{name}/{split}") for name in _parts(first, subject)]
        for each in (first, other)
    ]
    return digests[0] == digests[1] and None not in digests[0]


def _field(spec: Mapping[str, Any], path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


MOST_SETTINGS = 12


def comparison_table(labels: Sequence[str], rows: Sequence[Subject]) -> Table:
    """Return each sweep's answer per benchmark, and each sweep but the first minus the first."""
    first, *others = labels
    columns = ("benchmark", *labels, *(f"{label} minus {first}" for label in others))
    shown = (
        row(each.name, *map(_answer, each.answers), *map(_side_text, each.sides)) for each in rows
    )
    return Table("Which rate each sweep answers", columns, tuple(shown), _caveats(rows))


def settings_lines(
    labels: Sequence[str], different: Sequence[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """Return the settings that differ, a line each; the rest is counted."""
    if not different:
        return ["Their settings are the same but for what was searched."]
    lines = [f"Their settings differ ({', '.join(labels)}):"]
    lines += [f"  {path}: {' | '.join(texts)}" for path, texts in different[:MOST_SETTINGS]]
    if len(different) > MOST_SETTINGS:
        lines.append(f"  and {len(different) - MOST_SETTINGS} more settings")
    return lines


def _answer(answer: Answer | None) -> Cell:
    if answer is None or answer.pruning_rate is None:
        return Cell(DASH if answer is None else answer.verdict)
    shown = f"{format_score(answer.score)} {format_interval(answer.score)}".rstrip()
    sure = f"{answer.certainty.mark} {answer.certainty}"
    where = f"{answer.split} split, {plural(answer.num_seeds, 'seed')}"
    return Cell(f"p = {answer.pruning_rate:g}: {shown}\n{where}\n{sure} ({answer.trial})")


def _side_text(side: Side) -> Cell:
    if side.contrast is None:
        return Cell(side.how)
    shown = format_gain(side.contrast.difference)
    if side.contrast.p_value is not None:
        shown = f"{shown}, p-value {side.contrast.p_value:.2g}"
    return Cell("\n".join(filter(None, [shown, side.compared, side.how])))


def _caveats(rows: Sequence[Subject]) -> tuple[str, ...]:
    """Return what differences between answers of searches are worth; () if all are confirmed."""
    contrasts = [side.contrast for each in rows for side in each.sides]
    if all(one is None or one.num_seeds > 1 for one in contrasts):
        return ()
    return (
        "Best trials were picked on the examples that score them, and each has one seed: a "
        "difference covers neither the picking nor the luck of a seed.",
    )
