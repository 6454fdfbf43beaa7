"""Where a confirmation stands: which runs are needed next, or what was decided; pure functions.

It is worked out anew from the runs that have ended, from the first look on. So it is the same after
a crash as before, and no run that is there is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from .confirmation import Run, tabulate
from .finalists import Finalists, choose_finalists
from .sequential import Action, next_step
from .trials import MEAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .confirmation import Arm, ScoreTable
    from .confirmed import ConfirmedDecision
    from .sequential import Budget, Step
    from .trials import Scores, TrialRecord

    Runs: TypeAlias = "Mapping[tuple[str, int], Scores]"


@dataclass(frozen=True)
class Standing:
    """Where a confirmation stands.

    Attributes:
        step: What is next, and the decisions of the last look whose runs have all ended.
        needed: Every run of the looks so far and of the one that is next: arm and seed.
        missing: Those of them that have not ended; empty where the stage is over.
    """

    step: Step
    needed: tuple[tuple[Arm, int], ...]
    missing: tuple[tuple[Arm, int], ...]

    @property
    def decisions(self) -> tuple[ConfirmedDecision, ...]:
        """One per question; empty before the first look."""
        return self.step.decisions


def stand(questions: Sequence[Finalists], budget: Budget, runs: Runs) -> Standing:
    """Go from look to look, as far as the runs lead.

    Args:
        questions: The finalists of each benchmark.
        budget: Seeds, looks and cost.
        runs: Scores by arm's name and seed of every run that has ended; {} of one that failed.
    """
    table: ScoreTable | None = None
    needed: list[tuple[Arm, int]] = []
    while True:
        step = next_step(table, questions, budget)
        if step.action is not Action.ADD_SEEDS:
            return Standing(step, tuple(needed), ())
        needed += [(arm, seed) for seed in step.seeds for arm in step.arms]
        missing = tuple((arm, seed) for arm, seed in needed if (arm.name, seed) not in runs)
        if missing:
            return Standing(step, tuple(needed), missing)
        table = _table(questions, needed, runs)


def choose_questions(
    records: Sequence[TrialRecord],
    *,
    num_rates: int,
    num_seeds: int,
    max_runs: int | None,
    with_controls: bool = False,
) -> tuple[Finalists, ...]:
    """The questions of a confirmation, with as many rates as there is room for.

    Each benchmark has its own finalists; where there is no room even for one rate of each, all
    benchmarks are decided on the finalists of their mean.

    Args:
        records: The trials of the search stage.
        num_rates: Rates per benchmark, at most.
        num_seeds: Seeds at the first look.
        max_runs: Runs in all; None for no limit.
        with_controls: Whether each setting is an arm without its pruning too.
    """
    chosen = [
        tuple(choose_finalists(records, num_rates=number, with_controls=with_controls))
        for number in range(num_rates, 0, -1)
    ]
    shared = [
        tuple(
            replace(question, arms=questions[-1].arms, tied=questions[-1].tied)
            for question in questions
        )
        for questions in chosen
    ]
    for questions in (*chosen, *shared):
        if max_runs is None or len(all_arms(questions)) * num_seeds <= max_runs:
            return questions
    return shared[-1]


def all_arms(questions: Sequence[Finalists]) -> tuple[Arm, ...]:
    """The arms of all questions, each once."""
    return tuple(dict.fromkeys(arm for question in questions for arm in question.arms))


def arms_to_test(
    questions: Sequence[Finalists], decisions: Sequence[ConfirmedDecision], names: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """What is scored on the test split: the recommended arms and their p = 0, by benchmark.

    Args:
        questions: The finalists of each benchmark.
        decisions: At most one per question: none before the first look.
        names: Every benchmark of the task, those included that are tested alone: the winner of the
            mean, or of the only other one, is scored on these.

    Returns:
        Benchmarks to score by arm's name; empty where nothing was decided.
    """
    asked = [question.subject for question in questions]
    alone = [name for name in names if name not in asked]
    baselines = {question.subject: question.baseline for question in questions}
    found: dict[str, dict[str, None]] = {}
    for decision in decisions:
        if decision.recommended is None:
            continue
        subject = decision.benchmark
        is_overall = subject == MEAN or len(asked) == 1
        scored = [*(names if subject == MEAN else [subject]), *(alone if is_overall else [])]
        for arm in (decision.recommended, baselines[subject]):
            found.setdefault(arm.name, {}).update(dict.fromkeys(scored))
    return {arm: tuple(scored) for arm, scored in found.items()}


def _table(
    questions: Sequence[Finalists], needed: Sequence[tuple[Arm, int]], runs: Runs
) -> ScoreTable:
    benchmarks = {question.subject for question in questions} - {MEAN}
    empty: Scores = {name: {} for name in sorted(benchmarks)}
    return tabulate(
        Run(arm, seed, {name: runs[arm.name, seed].get(name, {}) for name in empty})
        for arm, seed in needed
    )
