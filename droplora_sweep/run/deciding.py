"""A sweep's decisions from its ledger: by search and confirmation, on test; or why none is made."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from droplora_sweep.analysis.comparisons import ties_text
from droplora_sweep.analysis.grounds import RunFacts, doubts, reference_rows, remarks
from droplora_sweep.analysis.on_test import winner_on_test_text, winners_on_test
from droplora_sweep.analysis.progress import is_undecided
from droplora_sweep.analysis.search_decision import best_per_benchmark
from droplora_sweep.analysis.text import confirmed_texts, decisions_text
from droplora_sweep.analysis.winners import coverage_text, winners
from droplora_sweep.errors import SweepError
from droplora_sweep.records.layout import SUMMARY_TEXT
from droplora_sweep.records.summaries import ArmSummary
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.fidelity import fidelity_text
from droplora_sweep.spec.metric_names import MEAN

from .confirming import HELD_ADVICE, confirmation_of, wanted_on_test

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.estimate import Estimate
    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.analysis.grounds import ReferenceRow
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.analysis.search_decision import Decision
    from droplora_sweep.analysis.winners import Winner
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord

    from .confirming import Confirmation

    Either = TypeVar("Either", Decision, ConfirmedDecision)


NOTHING_ANYWHERE = "nothing can be decided on any of its benchmarks"


class Grounds:
    """The evidence for decisions: references and runs, each read from the ledger once.

    Args:
        ledger: A sweep's, in any state.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._record = ledger.record
        self._facts: dict[str, RunFacts | None] = {}
        self._rows: dict[str, tuple[ReferenceRow, ...]] = {}
        self._untrained: dict[str, Scores | None] = {}

    def rows(self, split: str) -> tuple[ReferenceRow, ...]:
        """Return the scores to beat on a split; empty where the untrained model was not scored."""
        if split not in self._rows:
            reference = self._record.references.get(split)
            names = [str(name) for name in self._record.spec["task"]["benchmarks"]]
            untrained = self.untrained(split)
            self._rows[split] = (
                () if reference is None else reference_rows(reference, untrained, names)
            )
        return self._rows[split]

    def untrained(self, split: str) -> Scores | None:
        """Return the untrained model's score on each example of a split."""
        if split not in self._untrained:
            self._untrained[split] = self._ledger.untrained_scores(split)
        return self._untrained[split]

    def of_search(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Return the search stage's decisions; those without a sound basis are withheld."""
        complete = [one for one in self._record.comparable_trials if _is_complete(one)]
        found = []
        for decision in decisions:
            arms = {
                _label(one.pruning_rate, one.trial_id): self._facts_of(
                    [self._ledger.trial(one.trial_id)]
                )
                for one in (decision.pruned, decision.unpruned)
                if one is not None
            }
            found.append(self._judged(decision, arms, "validation", len(complete)))
        return _with_mean(found)

    def of_confirmation(
        self, decisions: Sequence[ConfirmedDecision]
    ) -> tuple[ConfirmedDecision, ...]:
        """Return the confirmation's decisions; those without a sound basis are withheld."""
        runs = [one for one in self._record.confirm_trials if _is_complete(one)]
        found = []
        for decision in decisions:
            arms = {
                _label(one.arm.pruning_rate, one.arm.name): self._facts_of(
                    [run for run in runs if run.arm == one.arm.name]
                )
                for one in (*decision.rates, *decision.controls)
            }
            found.append(self._judged(decision, arms, self._record.confirmed_on, 1))
        return tuple(_with_mean(found))

    def _judged(
        self,
        decision: Either,
        arms: Mapping[str, Sequence[RunFacts]],
        split: str,
        num_candidates: int,
    ) -> Either:
        """Withhold a decision, or add remarks on its arms."""
        subject = decision.benchmark
        reasons = doubts(
            subject,
            arms,
            self.rows(split),
            self.untrained(split),
            num_candidates=max(1, num_candidates),
        )
        if reasons:
            return decision.withheld(reasons)
        return replace(decision, remarks=remarks(subject, arms))

    def _facts_of(self, trials: Sequence[TrialRecord]) -> list[RunFacts]:
        """Return the facts of those trials that have results."""
        for trial in trials:
            if trial.trial_id not in self._facts:
                self._facts[trial.trial_id] = self._read(trial)
        found = (self._facts[trial.trial_id] for trial in trials)
        return [facts for facts in found if facts is not None]

    def _read(self, trial: TrialRecord) -> RunFacts | None:
        scores = self._ledger.scores(trial.trial_id)
        if scores is None:
            return None
        answers = self._ledger.answers(trial.trial_id)
        return RunFacts(
            scores,
            {name: each.given for name, each in answers.items()},
            {name: each.right for name, each in answers.items()},
            trial.metrics,
        )


def _with_mean(decisions: Sequence[Either]) -> list[Either]:
    """Withhold the mean too where nothing can be decided on any of its benchmarks."""
    parts = [one for one in decisions if one.benchmark != MEAN]
    if not parts or not all(one.is_withheld for one in parts):
        return list(decisions)
    return [
        one.withheld((NOTHING_ANYWHERE,)) if one.benchmark == MEAN and not one.is_withheld else one
        for one in decisions
    ]


def _label(rate: float, name: str) -> str:
    return f"p = {rate:g} ({name})"


def _is_complete(trial: TrialRecord) -> bool:
    return trial.state is TrialState.COMPLETE


def decide(ledger: Ledger) -> list[Decision]:
    """Return the best pruning rate per benchmark, as far as search-stage trials tell.

    Raises:
        SweepError: No trial is complete.
    """
    found = best_per_benchmark(ledger.search_records(), ledger.scores)
    return Grounds(ledger).of_search(found)


def winners_of(ledger: Ledger) -> tuple[Winner, ...]:
    """Return the setting to use on each benchmark: the confirmed one, else the search's best.

    Raises:
        SweepError: No trial is complete.
    """
    return winners(decide(ledger), confirmed(ledger), ledger.confirm_records())


def confirmed(ledger: Ledger) -> tuple[ConfirmedDecision, ...]:
    """Return the confirmation's decision per benchmark; empty before its first run."""
    found = _confirmation(ledger)
    return () if found is None else _sound(ledger, found)


def on_test(ledger: Ledger) -> tuple[WinnerOnTest, ...]:
    """Return the test scores of winners and p = 0; empty before they are scored."""
    found = _confirmation(ledger)
    if found is None:
        return ()
    runs = {
        (trial.arm, trial.spec["seed"]): ledger.test_scores(trial.trial_id) or {}
        for trial in ledger.confirm_records()
        if trial.is_tested and trial.arm is not None
    }
    return winners_on_test(found.comparisons, _sound(ledger, found), runs)


def protocol(ledger: Ledger) -> str:
    """Return the protocol by which the sweep's responses are read."""
    return str(ledger.record.spec["evaluation"]["protocol"])


def conclusion(ledger: Ledger) -> str:
    """Put the decisions in words: confirmed where there are any, else exploratory, and said so.

    Raises:
        SweepError: No trial is complete.
    """
    decisions = confirmed(ledger)
    explored = [] if decisions else decide(ledger)
    return conclusion_text(explored, decisions, on_test(ledger), notes(ledger), protocol(ledger))


def conclusion_text(
    explored: Sequence[Decision],
    decisions: Sequence[ConfirmedDecision],
    tested: Sequence[WinnerOnTest],
    further: Sequence[str],
    protocol: str,
) -> str:
    """Return decisions in words, as `conclusion` has them."""
    if not decisions:
        return "\n".join([decisions_text(explored, protocol), *further])
    lines = [confirmed_texts(decisions), *map(winner_on_test_text, tested), *further]
    return "\n".join([*lines, f"Scores are by the {protocol} protocol."])


def notes(ledger: Ledger) -> list[str]:
    """Return lines on the rates that are not decided: tied, unconfirmed or never tried."""
    record, found = ledger.record, _confirmation(ledger)
    decisions = () if found is None else found.progress.decisions
    parameters = record.spec["search"]["parameters"]
    lines = [coverage_text(parameters, record.search_trials, decisions)]
    if decisions and found is not None:
        lines.insert(0, ties_text(found.comparisons))
    if (fidelity := fidelity_text(record.spec)) is not None:
        lines.insert(0, _fidelity_note(fidelity, is_confirmed=bool(decisions)))
    return [line for line in lines if line]


def _fidelity_note(fidelity: str, *, is_confirmed: bool) -> str:
    """Return a line on what was seen at the search's fidelity, and what in full training."""
    searched = f"The search's trials were trained on less ({fidelity})"
    if is_confirmed:
        return f"{searched}: they chose the settings; what is confirmed is of full training."
    return (
        f"{searched}: a rate may gain more or less in full training, which the confirmation does."
    )


def stage_text(ledger: Ledger) -> str | None:
    """Return the stage of a sweep with a confirmation, in words; None for one without."""
    record = ledger.record
    if record.spec.get("confirm") is None:
        return None
    found = _confirmation(ledger)
    if found is None:
        return "stage: search"
    progress = found.progress
    if progress.missing:
        num_done = len(progress.needed) - len(progress.missing)
        seeds = len({seed for _, seed in progress.needed})
        return (
            f"stage: confirmation, {num_done} of {len(progress.needed)} runs "
            f"({found.num_arms} arms, {seeds} seeds)"
        )
    decisions = _sound(ledger, found)
    if wanted := wanted_on_test(found, decisions, record):
        return f"stage: test split, {len(wanted)} winners' runs to score"
    if decisions and all(one.is_withheld for one in decisions):
        return "stage: confirmation over, nothing to decide"
    if found.held_by is not None:
        return f"stage: confirmation held, {found.held_by}{_decided_text(decisions)}; {HELD_ADVICE}"
    why = progress.step.action.removeprefix("stop: ")
    return f"stage: confirmation over, {why}{_decided_text(decisions)}"


def _decided_text(decisions: Sequence[ConfirmedDecision]) -> str:
    """``: decided for arc; open for math, mean``; "" where all are the same."""
    is_open = [one.benchmark for one in decisions if is_undecided(one)]
    nothing = [one.benchmark for one in decisions if one.is_withheld]
    decided = [one.benchmark for one in decisions if one.benchmark not in (*is_open, *nothing)]
    kinds = (("decided for", decided), ("open for", is_open), ("nothing to decide for", nothing))
    parts = [f"{what} {', '.join(names)}" for what, names in kinds if names]
    return f": {'; '.join(parts)}" if len(parts) > 1 else ""


def summary(ledger: Ledger) -> dict[str, str]:
    """Return the texts that the parent run shows, by file name; README.md is its description."""
    try:
        return {SUMMARY_TEXT: conclusion(ledger)}
    except SweepError as error:
        return {SUMMARY_TEXT: str(error)}


def arm_summaries(ledger: Ledger) -> list[ArmSummary]:
    """Return what each arm of the confirmation amounts to; empty before its first decisions."""
    found: dict[str, dict[str, float]] = {}
    for decision in confirmed(ledger):
        for one in (*decision.rates, *decision.controls):
            metrics = found.setdefault(one.arm.name, {})
            metrics |= _estimate(f"confirmed/{decision.benchmark}", one.mean)
            if one.difference is not None:
                metrics |= _estimate(f"gain/{decision.benchmark}", one.difference.estimate)
    runs = [run for run in ledger.confirm_records() if _is_complete(run)]
    times = [run.finished for run in runs if run.finished is not None]
    summaries = []
    for arm, metrics in found.items():
        own = [run for run in runs if run.arm == arm]
        if own:
            summaries.append(
                ArmSummary(
                    arm=arm, run=own[0], num_seeds=len(own), time=max(times), metrics=metrics
                )
            )
    return summaries


def _estimate(name: str, estimate: Estimate) -> dict[str, float]:
    parts = {"mean": estimate.value, "low": estimate.low, "high": estimate.high}
    return {f"{name}/{part}": value for part, value in parts.items() if math.isfinite(value)}


def _sound(ledger: Ledger, found: Confirmation) -> tuple[ConfirmedDecision, ...]:
    """Return its decisions; those without a sound basis are withheld."""
    return Grounds(ledger).of_confirmation(found.progress.decisions)


def is_held(ledger: Ledger) -> bool:
    """Return True where the confirmation waits for more GPU hours."""
    found = _confirmation(ledger)
    return found is not None and found.held_by is not None


def _confirmation(ledger: Ledger) -> Confirmation | None:
    record = ledger.record
    # Before its first run there is nothing to decide on, and the search may continue.
    return confirmation_of(record, ledger) if record.confirm_trials else None
