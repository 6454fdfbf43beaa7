"""The confirmation of a sweep, worked out from its ledger: arms, runs, decisions, final tests.

Which settings are confirmed follows from the search trials that were there when the first
confirmation run started, how from the spec and that run; so it is the same each time that the
ledger is read. Test scores are read by none of this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from droplora_sweep.analysis.comparisons import BASELINE_SUFFIX, affordable_comparisons, all_arms
from droplora_sweep.analysis.progress import Budget, arms_to_test, progress_of
from droplora_sweep.analysis.surface.posterior import SearchPosterior
from droplora_sweep.ledger.reader import recorded_sweep
from droplora_sweep.records.trial import Stage, TrialState
from droplora_sweep.spec.at_fidelity import at_full_fidelity

from .spending import has_hours_for, has_hours_left, hours_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from droplora_sweep.analysis.comparisons import Comparison
    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.analysis.progress import ConfirmationProgress
    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import ConfirmSpec, SweepSpec, TrialSpec


HELD_ADVICE = (
    "`run` with a higher `confirm.gpu_hours` continues; with `confirm.max_runs` at the number of "
    "runs that there are it ends as it is, and only then is a test split scored"
)


class Results(Protocol):
    """Per-example results of a sweep's trials, by id, but for those of the test split."""

    def scores(self, trial_id: str, /) -> Scores | None:
        """A trial's score on each example; None where it has none."""

    def likelihoods(self, trial_id: str, /) -> Scores | None:
        """Likelihoods of the references under it, likewise (see ``read_likelihoods``)."""


@dataclass(frozen=True)
class Confirmation:
    """The state of a confirmation.

    Attributes:
        comparisons: The arms of each benchmark; empty where there is nothing to compare.
        budget: Seeds, interim analyses and cost.
        progress: The runs that are next, or the decisions.
        origins: The search trial that each arm has its setting from, by arm's name.
        specs: The setting that each arm trains, but for the seed, by its name.
        held_by: Reason why it is held before its end; None where it is not.
    """

    comparisons: tuple[Comparison, ...]
    budget: Budget
    progress: ConfirmationProgress
    origins: Mapping[str, TrialRecord]
    specs: Mapping[str, TrialSpec]
    held_by: str | None = None

    @property
    def num_arms(self) -> int:
        return len(self.specs)

    def run_spec(self, arm: str, seed: int) -> TrialSpec:
        """Return one run: the arm's setting with that seed."""
        return self.specs[arm].model_copy(update={"seed": seed})


def confirmation_of(
    record: SweepRecord, results: Results, now: datetime | None = None
) -> Confirmation | None:
    """Return the confirmation of a sweep whose search is over; None where none is asked for.

    Args:
        record: The sweep.
        results: What its trials' examples say, such as its ledger.
        now: The time, UTC, while a driver works on it; else None.
    """
    if record.spec.get("confirm") is None:
        return None
    sweep = recorded_sweep(record)
    assert sweep.confirm is not None, "the spec has it"
    searched = comparable_before_confirming(record)
    comparisons = affordable_comparisons(
        searched,
        num_rates=sweep.confirm.rates,
        num_seeds=sweep.confirm.seeds,
        max_runs=sweep.confirm.max_runs,
        with_controls=sweep.confirm.controls,
        model=(
            None
            if sweep.confirm.finalists == "best_trial"
            else SearchPosterior(
                searched,
                sweep.search.parameters,
                results.scores,
                results.likelihoods if sweep.confirm.finalists == "likelihood" else None,
            )
        ),
        begun={trial.arm for trial in record.confirm_trials if trial.arm is not None},
    )
    by_id = {trial.trial_id: trial for trial in searched}
    origins = {
        arm.name: by_id[arm.name.removesuffix(BASELINE_SUFFIX)] for arm in all_arms(comparisons)
    }
    specs = {name: _arm_spec(name, trial, sweep) for name, trial in origins.items()}
    comparisons = _merged(comparisons, specs)
    kept = [arm.name for arm in all_arms(comparisons)]
    budget = budget_of(sweep, races=_races(record, sweep.confirm))
    progress = progress_of(comparisons, budget, _runs(record.confirm_trials, kept, results.scores))
    limit = sweep.confirm.gpu_hours
    if limit is not None:
        progress = _within_hours(progress, record, limit, now)
    return Confirmation(
        comparisons,
        budget,
        progress,
        {name: origins[name] for name in kept},
        {name: specs[name] for name in kept},
        hours_text(record, limit) if limit is not None and progress.is_held else None,
    )


def _races(record: SweepRecord, confirm: ConfirmSpec) -> bool:
    """Return True where single arms are dropped between looks.

    The first run has fixed it: confirmations that an earlier version began have no race.
    """
    if record.confirm_trials:
        return record.confirm_trials[0].raced
    return len(confirm.looks) > 1


def _within_hours(
    progress: ConfirmationProgress, record: SweepRecord, limit: float, now: datetime | None
) -> ConfirmationProgress:
    """Return the progress as the GPU hours allow it: no run begins that has no room.

    Runs that have begun are trained to their end. A look is not begun where its runs, each as
    long as those so far, would not all fit.
    """
    if not progress.missing:
        return progress
    begun = {
        (trial.arm, trial.spec["seed"]) for trial in record.confirm_trials if not trial.is_finished
    }
    unfinished = tuple((arm, seed) for arm, seed in progress.missing if (arm.name, seed) in begun)
    is_spent = not has_hours_left(record, limit, now)
    if unfinished:
        return replace(progress, missing=unfinished) if is_spent else progress
    fits = progress.has_begun_look or has_hours_for(record, limit, len(progress.missing))
    return progress.held() if is_spent or not fits else progress


def budget_of(sweep: SweepSpec, *, races: bool) -> Budget:
    """Return seeds, interim analyses and cost of a sweep that has ``confirm``."""
    confirm = sweep.confirm
    assert confirm is not None, "there is a confirmation"
    return Budget(
        seeds=confirm.seeds_after(sweep.seed),
        looks=confirm.looks,
        max_runs=confirm.max_runs,
        margin=confirm.margin,
        new_examples=confirm.examples == "new",
        races=races,
    )


def comparable_before_confirming(record: SweepRecord) -> list[TrialRecord]:
    """Return the search trials that arms are picked from.

    Trials after the first confirmation run come too late; clones whose scores may not be compared
    are left out too.
    """
    trials: list[TrialRecord] = []
    for trial in record.trials:
        if trial.stage is Stage.CONFIRM:
            break
        trials.append(trial)
    return [trial for trial in trials if trial.is_comparable]


def looked_at_note(origin: SweepRecord) -> str | None:
    """Return a warning for a fork of a sweep that has been tested; None for other forks."""
    if not any(trial.is_tested for trial in origin.trials):
        return None
    return (
        f"{origin.name} has scored its winners on the test split: this sweep's decisions are no "
        "longer blind to that, and its own test scores say less"
    )


def wanted_on_test(
    confirmation: Confirmation, decisions: Sequence[ConfirmedDecision], record: SweepRecord
) -> dict[str, tuple[str, ...]]:
    """Return benchmarks to score on the test split, by trial's id: all seeds of winners and p = 0.

    Empty while anything is to be trained, or would be with more GPU hours, for what was scored
    before, and for benchmarks without test examples.

    Args:
        confirmation: Its state.
        decisions: One per comparison; nothing is scored for those that are withheld.
        record: The sweep.
    """
    if confirmation.progress.missing or confirmation.progress.is_held:
        return {}
    names = [
        str(name)
        for name in record.spec["task"]["benchmarks"]
        if f"{name}/test" in record.data_digests
    ]
    scored = arms_to_test(confirmation.comparisons, decisions, names)
    needed = {(arm.name, seed) for arm, seed in confirmation.progress.needed}
    return {
        trial.trial_id: scored[trial.arm]
        for trial in record.confirm_trials
        if trial.arm in scored
        and (trial.arm, trial.spec["seed"]) in needed
        and trial.state is TrialState.COMPLETE
        and not trial.is_tested
    }


def _arm_spec(name: str, trial: TrialRecord, sweep: SweepSpec) -> TrialSpec:
    spec = at_full_fidelity(trial.spec_to_run, sweep)
    assert sweep.confirm is not None, "there is a confirmation"
    split = "confirmation" if sweep.confirm.examples == "new" else "validation"
    # Nothing stops a run early, so only its end is scored.
    evaluation = spec.evaluation.model_copy(update={"split": split, "num_evaluations": 1})
    adapter = spec.adapter
    if name.endswith(BASELINE_SUFFIX):
        adapter = adapter.model_copy(update={"pruning_rate": 0.0, "module_pruning_rates": {}})
    return spec.model_copy(update={"evaluation": evaluation, "adapter": adapter})


def _merged(
    comparisons: Sequence[Comparison], specs: Mapping[str, TrialSpec]
) -> tuple[Comparison, ...]:
    """Give arms that train the same one name in all comparisons: one run serves all."""
    first: dict[str, str] = {}
    same = {}
    for name, spec in specs.items():
        alike = spec.model_copy(update={"adapter": spec.adapter.canonical()}).model_dump_json()
        same[name] = first.setdefault(alike, name)
    return tuple(
        replace(
            comparison,
            arms=tuple(
                dict.fromkeys(
                    replace(arm, name=same[arm.name], control=arm.control and same[arm.control])
                    for arm in comparison.arms
                )
            ),
        )
        for comparison in comparisons
    )


def _runs(
    trials: Iterable[TrialRecord], arms: Sequence[str], scores: Callable[[str], Scores | None]
) -> dict[tuple[str, int], Scores]:
    """Return the scores of every run that has ended; a failed or stopped one has none."""
    return {
        (trial.arm, trial.spec["seed"]): (
            scores(trial.trial_id) or {} if trial.state is TrialState.COMPLETE else {}
        )
        for trial in trials
        if trial.is_finished and trial.arm in arms and trial.arm is not None
    }
