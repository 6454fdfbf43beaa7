"""What a ledger tells of whether there is anything to decide, and decisions without it withheld."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from droplora_sweep.analysis.grounds import RunFacts, doubts, remarks
from droplora_sweep.analysis.references import reference_rows
from droplora_sweep.analysis.trials import MEAN
from droplora_sweep.records.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.references import ReferenceRow
    from droplora_sweep.analysis.search_decision import Decision
    from droplora_sweep.analysis.trials import Scores
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord

    Either = TypeVar("Either", Decision, ConfirmedDecision)

NOTHING_ANYWHERE = "nothing can be decided on any of its benchmarks"


class Grounds:
    """Reads what decisions rest on; each trial's results once.

    Args:
        ledger: A sweep's, in any state.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._record = ledger.record
        self._facts: dict[str, RunFacts | None] = {}
        self._rows: dict[str, tuple[ReferenceRow, ...]] = {}
        self._untrained: dict[str, Scores | None] = {}

    @cached_property
    def confirmed_on(self) -> str:
        """The split that confirmation runs are scored on."""
        confirm = self._record.spec.get("confirm") or {}
        return "confirmation" if confirm.get("examples", "new") == "new" else "validation"

    def rows(self, split: str) -> tuple[ReferenceRow, ...]:
        """What has to be beaten on a split; empty where the untrained model was not scored."""
        if split not in self._rows:
            reference = self._record.references.get(split)
            names = [str(name) for name in self._record.spec["task"]["benchmarks"]]
            untrained = self.untrained(split)
            self._rows[split] = (
                () if reference is None else reference_rows(reference, untrained, names)
            )
        return self._rows[split]

    def untrained(self, split: str) -> Scores | None:
        """The untrained model's score on each example of a split."""
        if split not in self._untrained:
            self._untrained[split] = self._ledger.untrained_scores(split)
        return self._untrained[split]

    def of_search(self, decisions: Sequence[Decision]) -> list[Decision]:
        """The search stage's decisions; those about nothing are withheld."""
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
        """The confirmation's decisions; those about nothing are withheld."""
        runs = [one for one in self._record.confirm_trials if _is_complete(one)]
        found = []
        for decision in decisions:
            arms = {
                _label(one.arm.pruning_rate, one.arm.name): self._facts_of(
                    [run for run in runs if run.arm == one.arm.name]
                )
                for one in (*decision.rates, *decision.controls)
            }
            found.append(self._judged(decision, arms, self.confirmed_on, 1))
        return tuple(_with_mean(found))

    def _judged(
        self,
        decision: Either,
        arms: Mapping[str, Sequence[RunFacts]],
        split: str,
        num_candidates: int,
    ) -> Either:
        """The decision, withheld or with what has to be known of its arms."""
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
        """Of those trials that have results."""
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
    """The mean is withheld too where nothing can be decided on any of its benchmarks."""
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
