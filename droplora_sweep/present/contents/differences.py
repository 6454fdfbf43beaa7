"""Examples on which two settings disagree, with what was asked and what they answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from droplora_sweep.analysis.examples.disagreements import disagreements
from droplora_sweep.errors import DropLoRASweepError, InputError
from droplora_sweep.ledger.files import read_results
from droplora_sweep.ledger.reader import recorded_sweep
from droplora_sweep.present.values import (
    MINUS,
    excerpt,
    format_probability,
    format_score,
    plural,
    visible,
)
from droplora_sweep.tasks.loading import load_task

from .sides import Sides
from .table import Cell, Table, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.analysis.examples.disagreements import Disagreements, RightCount, Totals
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import SweepRecord
    from droplora_sweep.tasks.task import Example

    from .facts import Facts
    from .sides import Side

QUESTION_CHARACTERS = 360
ANSWER_CHARACTERS = 120


@dataclass(frozen=True)
class Answered:
    """Answers of one setting to one example.

    Attributes:
        count: Its right answers.
        answer: The most frequent answer as it was read; a response from which none was read is
            given whole.
        num_given: Times that it was given.
        num_answers: All its answers: one per run, or more where several were drawn.
    """

    count: RightCount
    answer: str
    num_given: int
    num_answers: int


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """One example of a comparison.

    Attributes:
        example_id: Its id in the per-example results.
        question: Its text; None where the data was not found.
        right_answer: The right answer.
        certainty: Probability of `Disagreement.certainty`.
        answers: Of the first and of the second setting.
    """

    example_id: str
    question: str | None
    right_answer: str
    certainty: float
    answers: tuple[Answered, Answered]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two settings on one benchmark.

    Attributes:
        benchmark: The benchmark.
        sides: The first and the second setting.
        totals: All examples together.
        num_differing: Examples with different shares of right answers.
        examples: The surest of them.
        lacks_questions: Reason why questions are not known; "" where they are.
    """

    benchmark: str
    sides: tuple[Side, Side]
    totals: Totals
    num_differing: int
    examples: tuple[ShownExample, ...]
    lacks_questions: str = ""


def differences(
    ledger: Ledger, first: str, second: str, *, benchmark: str | None, limit: int
) -> list[Difference]:
    """Compare two settings, as a user names them, on one benchmark or on all.

    Args:
        ledger: The sweep's.
        first: A trial, an arm or a rate (see `Sides.pair`).
        second: The same of the other.
        benchmark: A benchmark; None for all.
        limit: At most so many examples of each.

    Raises:
        InputError: A name means nothing here, or the settings cannot be compared.
        SweepError: There is no such trial, or results cannot be read.
    """
    names = [str(name) for name in ledger.record.spec["task"]["benchmarks"]]
    if benchmark is not None and benchmark not in names:
        problem = f"must be one of {', '.join(names)}, got {benchmark}"
        raise InputError.of("--benchmark", problem)
    sides = Sides(ledger)
    chosen = names if benchmark is None else [benchmark]
    pairs = {name: sides.pair(first, second, name) for name in chosen}
    results = _Results(ledger)
    found = [_difference(results, name, pair, limit) for name, pair in pairs.items()]
    known = [one for one in found if one is not None]
    if not known:
        problem = f"must have a score on examples that A has one on, of {', '.join(chosen)}"
        raise InputError.of("B", problem)
    return with_questions(known, ledger.record)


def answer_differences(ledger: Ledger, facts: Facts, limit: int) -> list[Difference]:
    """Compare the answer to each benchmark with its p = 0; empty where there is none yet.

    Where the answer is p = 0 itself, the best rate above it stands against it.

    Args:
        ledger: The sweep's.
        facts: What is known of it.
        limit: At most so many examples of each benchmark.
    """
    sides, results = Sides(ledger), _Results(ledger)
    found = []
    for name in facts.record.spec["task"]["benchmarks"]:
        pair = _answer_pair(facts, sides, str(name))
        one = None if pair is None else _difference(results, str(name), pair, limit)
        if one is not None:
            found.append(one)
    return with_questions(found, ledger.record)


def _answer_pair(facts: Facts, sides: Sides, benchmark: str) -> tuple[Side, Side] | None:
    confirmed = facts.confirmation(benchmark)
    if confirmed is not None:
        return None if confirmed.is_withheld else _confirmed_pair(confirmed, sides)
    decision = facts.decision(benchmark)
    if decision is None or decision.is_withheld:
        return None
    pair = (decision.pruned, decision.unpruned)
    found = [sides.trial(one.trial_id) for one in pair if one is not None]
    return None if len(found) < 2 or not all(one.runs for one in found) else (found[0], found[1])


def _confirmed_pair(decision: ConfirmedDecision, sides: Sides) -> tuple[Side, Side] | None:
    unpruned = next((one.arm for one in decision.rates if one.arm.pruning_rate == 0), None)
    pruned = [one for one in decision.rates if one.arm.pruning_rate > 0]
    best = decision.recommended
    if best is None or best.pruning_rate == 0:
        best = max(pruned, key=lambda one: one.mean.value).arm if pruned else None
    return sides.winner_pair([best, unpruned])


class _Results:
    """Per-example results of a sweep's trials, each read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._scores: dict[str, Scores] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def scores(self, trial_id: str) -> Scores:
        """Return the trial's score on each example, by benchmark."""
        if trial_id not in self._scores:
            self._scores[trial_id] = self._ledger.scores(trial_id) or {}
        return self._scores[trial_id]

    def rows(self, trial_id: str) -> list[dict[str, Any]]:
        """Return the trial's responses, as `read_results` has them."""
        if trial_id not in self._rows:
            path = self._ledger.trial(trial_id).results
            self._rows[trial_id] = [] if path is None else read_results(path)
        return self._rows[trial_id]


def _difference(
    results: _Results, benchmark: str, sides: tuple[Side, Side], limit: int
) -> Difference | None:
    """Return the comparison without questions; None without a common example."""
    scores = [
        {seed: results.scores(name).get(benchmark, {}) for seed, name in side.runs.items()}
        for side in sides
    ]
    found = disagreements(*scores)
    if found is None:
        return None
    return Difference(
        benchmark=benchmark,
        sides=sides,
        totals=found.totals,
        num_differing=len(found.examples),
        examples=_shown(results, benchmark, sides, found, limit),
    )


def _shown(
    results: _Results, benchmark: str, sides: tuple[Side, Side], found: Disagreements, limit: int
) -> tuple[ShownExample, ...]:
    chosen = found.examples[:limit]
    ids = {one.example_id for one in chosen}
    seeds = sides[0].runs.keys() & sides[1].runs.keys()
    given: list[dict[str, Counter[str]]] = []
    golds: dict[str, str] = {}
    for side in sides:
        counts: dict[str, Counter[str]] = {one: Counter() for one in ids}
        for seed, trial_id in side.runs.items():
            if seeds and seed not in seeds:
                continue
            for each in results.rows(trial_id):
                if each["benchmark"] == benchmark and each["example_id"] in ids:
                    answer = each["prediction"]
                    counts[each["example_id"]][each["response"] if answer is None else answer] += 1
                    golds[each["example_id"]] = each["gold"]
        given.append(counts)
    return tuple(
        ShownExample(
            example_id=one.example_id,
            question=None,
            right_answer=golds[one.example_id],
            certainty=one.certainty,
            answers=(
                _answered(one.first, given[0][one.example_id]),
                _answered(one.second, given[1][one.example_id]),
            ),
        )
        for one in chosen
    )


def _answered(count: RightCount, given: Counter[str]) -> Answered:
    answer, num_given = max(given.items(), key=lambda each: (each[1], each[0]))
    return Answered(count, answer, num_given, given.total())


def with_questions(found: Sequence[Difference], record: SweepRecord) -> list[Difference]:
    """Return comparisons with what was asked, which is read from the sweep's data.

    Examples are found by their digests, so that data that has changed since gives no wrong ones.
    """
    if not any(one.examples for one in found):
        return list(found)
    try:
        task = load_task(recorded_sweep(record).task)
    except DropLoRASweepError as error:
        reason = str(error).partition("\n")[0]
        return [replace(one, lacks_questions=reason) for one in found]
    questions = {
        (benchmark.name, example.digest): _question(example)
        for benchmark in task.benchmarks
        for split in ("validation", "confirmation")
        for example in benchmark.splits().get(split, ())
    }
    return [_asked(one, questions) for one in found]


def _asked(difference: Difference, questions: Mapping[tuple[str, str], str]) -> Difference:
    examples = tuple(
        replace(one, question=questions.get((difference.benchmark, one.example_id)))
        for one in difference.examples
    )
    is_changed = any(one.question is None for one in examples)
    reason = "the data has other examples than the sweep was scored on" if is_changed else ""
    return replace(difference, examples=examples, lacks_questions=reason)


def _question(example: Example) -> str:
    before = (text for exchange in example.history for text in exchange)
    parts = example.turns or (*before, example.instruction, example.input)
    return "\n".join(part for part in parts if part)


def difference_table(difference: Difference) -> Table:
    """Return the examples of a comparison under a heading with its totals."""
    labels = [side.label for side in difference.sides]
    rows = []
    for number, one in enumerate(difference.examples, start=1):
        question = one.example_id
        if one.question is not None:
            question = excerpt(one.question, QUESTION_CHARACTERS)
        rows.append(
            row(
                str(number),
                question,
                excerpt(one.right_answer, ANSWER_CHARACTERS),
                *map(_answer_cell, one.answers),
                Cell(format_probability(one.certainty), value=one.certainty),
            )
        )
    columns = ("#", "question", "right answer", *labels, "how sure")
    first, second = labels
    title = f"{difference.benchmark}: {first} against {second}"
    return Table(title, columns, tuple(rows), tuple(notes(difference)))


def _answer_cell(answered: Answered) -> Cell:
    count = answered.count
    given = (
        "" if answered.num_answers == 1 else f" ({answered.num_given} of {answered.num_answers})"
    )
    text = excerpt(answered.answer, ANSWER_CHARACTERS) or "nothing"
    return Cell(f"{text}{given}", f"right {count.right:g}/{count.num_runs}")


def totals_text(difference: Difference) -> str:
    """Return the totals of a comparison in one sentence.

    Both shares of examples that one setting alone had right differ by the difference of the scores.
    """
    totals, (first, second) = difference.totals, difference.sides
    gain = f"{100 * totals.difference:+.1f} points".replace("-", MINUS)
    where = f"{totals.num_examples:,} examples of the {first.split} split"
    seeds = len(first.runs.keys() & second.runs.keys())
    how = plural(seeds, "shared seed") if seeds else "no shared seed, every run against every other"
    count = totals.num_answers
    own = [f"{number:,} ({format_score(number / count)})" for number in _counts(totals)]
    kinds: tuple[str, ...]
    if totals.is_graded:
        kinds = ("the first scored higher on", "the second on", "both the same on")
    else:
        kinds = ("only the first right on", "only the second on", "both right on", "both wrong on")
    parts = ", ".join(f"{kind} {number}" for kind, number in zip(kinds, own, strict=True))
    return f"{where}, {how}; of {count:,} pairs of answers: {parts}; {gain} for the first."


def _counts(totals: Totals) -> tuple[int, ...]:
    if totals.is_graded:
        return (totals.only_first, totals.only_second, totals.num_same)
    return (totals.only_first, totals.only_second, totals.both, totals.neither)


def notes(difference: Difference) -> list[str]:
    """Return what has to be known to read the table of a comparison."""
    lines = [totals_text(difference)]
    num_shown = len(difference.examples)
    if difference.num_differing > num_shown:
        lines.append(
            f"The {num_shown} surest of {difference.num_differing:,} that differ are shown."
        )
    if not difference.num_differing:
        lines.append("Both are right equally often on every example.")
        return lines
    if max(len(side.runs) for side in difference.sides) == 1:
        lines.append(
            "Each has one seed: another would change other answers, so that these examples are "
            "illustrations and no evidence."
        )
    if difference.lacks_questions:
        lines.append(
            f"Questions are given by the ids of the results: {visible(difference.lacks_questions)}."
        )
    return lines


SURE_TEXT = (
    "How sure: the probability, over new seeds, that the setting with more right answers is the "
    "one more often right on this example (Jeffreys' prior). Among many examples some differ by "
    "luck: what settings do on the whole is what `best` decides."
)


def differences_json(sweep: str, found: Sequence[Difference]) -> dict[str, Any]:
    """Return comparisons for other programs: scores and certainties as fractions, texts whole."""
    return {"schema": 1, "sweep": sweep, "benchmarks": [_json(one) for one in found]}


def _json(difference: Difference) -> dict[str, Any]:
    totals = difference.totals
    return {
        "benchmark": difference.benchmark,
        "split": difference.sides[0].split,
        "first": _side_json(difference.sides[0]),
        "second": _side_json(difference.sides[1]),
        "difference": totals.difference,
        "num_examples": totals.num_examples,
        "num_answers": totals.num_answers,
        "only_first": totals.only_first,
        "only_second": totals.only_second,
        "both": None if totals.is_graded else totals.both,
        "neither": None if totals.is_graded else totals.neither,
        "num_differing": difference.num_differing,
        "lacks_questions": difference.lacks_questions or None,
        "examples": [
            {
                "example_id": one.example_id,
                "question": one.question,
                "right_answer": one.right_answer,
                "certainty": one.certainty,
                **{
                    name: {
                        "right": answered.count.right,
                        "runs": answered.count.num_runs,
                        "answer": answered.answer,
                        "given": answered.num_given,
                        "answers": answered.num_answers,
                    }
                    for name, answered in zip(("first", "second"), one.answers, strict=True)
                },
            }
            for one in difference.examples
        ],
    }


def _side_json(side: Side) -> dict[str, Any]:
    runs = [{"seed": seed, "trial": side.runs[seed]} for seed in sorted(side.runs)]
    return {"setting": side.name, "pruning_rate": side.pruning_rate, "runs": runs}
