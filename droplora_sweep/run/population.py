"""A population's exploit steps: decided from the ledger, recorded in it, and told to the groups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.groups.pool import ask
from droplora_sweep.records.layout import SNAPSHOTS
from droplora_sweep.search.rules import Member, next_exploit
from droplora_sweep.spec import baselines, resolve
from droplora_sweep.spec.fields import get_field
from droplora_sweep.spec.metric_names import search_value
from droplora_sweep.storage.object_store import below
from droplora_sweep.training.checkpoints.places import checkpoint_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ray.actor import ActorHandle

    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import ExploitStep, Scalar, SweepSpec

logger = logging.getLogger(__name__)


def members_of(record: SweepRecord, sweep: SweepSpec) -> tuple[Member, ...]:
    """Return the population as the ledger has it: the drawn trials that were trained here.

    Clones are none, and neither is what a fork has taken over: it left no snapshots.
    """
    kept = (
        [resolve(values, sweep) for values in baselines(sweep)]
        if sweep.search.queue_baselines
        else []
    )
    return tuple(
        Member(
            name=trial.trial_id,
            number=trial.number,
            scores={
                each.number: search_value(sweep.search.metric, each.metrics)
                for each in trial.evaluations
            },
            settings={
                each.number: _settings_at(trial, each.number, sweep) for each in trial.evaluations
            },
            is_baseline=trial.trial_spec in kept,
        )
        for trial in record.search_trials
        if is_member(trial)
    )


def is_member(trial: TrialRecord) -> bool:
    """True where a search-stage trial of a population's sweep is of the population."""
    return trial.clone_of is None and trial.origin is None


def missing_exploit(record: SweepRecord, trial_id: str, sweep: SweepSpec) -> ExploitStep | None:
    """Return what a member does after its last evaluation; None where it is decided or was the end.

    A pure function of the ledger: what an earlier driver would have decided, had it lived.
    """
    assert sweep.search.population is not None, "the sweep has a population"
    [trial] = [each for each in record.trials if each.trial_id == trial_id]
    if not is_member(trial) or not trial.evaluations:
        return None
    last = trial.evaluations[-1]
    decided = max((exploit.evaluation for exploit in trial.exploit_steps), default=0)
    if last.number <= decided or last.is_last:
        return None
    return next_exploit(
        members=members_of(record, sweep),
        name=trial_id,
        evaluation=last.number,
        population=sweep.search.population,
        parameters=sweep.search.parameters,
        seed=sweep.seed,
    )


def has_copied(record: SweepRecord, trial_id: str) -> bool:
    """True where a trial has copied another: its score is then that of no single setting."""
    return any(each.schedule for each in record.trials if each.trial_id == trial_id)


class Population:
    """Decides each member's exploit step, once, and has the groups take it.

    Args:
        sweep: Has the rule.
        ledger: Keeps them, before any group takes them.
        pool: Tells groups of them.
    """

    def __init__(self, sweep: SweepSpec, ledger: LedgerWriter, pool: ActorHandle[Any]) -> None:
        self._sweep = sweep
        self._ledger = ledger
        self._pool = pool

    def resume(self) -> None:
        """Tell the pool of earlier drivers' exploit steps, and decide those that they left open.

        Call it before any trial is submitted.
        """
        for trial in self._ledger.record.search_trials:
            if not trial.is_finished and is_member(trial):
                self.decide(trial.trial_id)
                for exploit in self._ledger.trial(trial.trial_id).schedule:
                    ask(self._pool, "exploit", trial.trial_id, exploit)

    def decide(self, trial_id: str) -> None:
        """Decide what a member does after its last evaluation, before it may train past it.

        Raises:
            SweepError: The ledger cannot be written.
        """
        exploit = missing_exploit(self._ledger.record, trial_id, self._sweep)
        if exploit is None:
            return
        self._ledger.trial_exploited(trial_id, exploit)
        if exploit.source is not None:
            ask(self._pool, "exploit", trial_id, exploit)

    def clear(self) -> None:
        """Remove all snapshots, once no member will copy any more."""
        for trial in self._ledger.record.search_trials:
            if is_member(trial):
                location = below(self._ledger.trials_location, trial.trial_id)
                place = checkpoint_place(location, SNAPSHOTS)
                try:
                    place.clear()
                except (OSError, SweepError) as error:
                    # They take room, and nothing else reads them.
                    logger.warning("%s: cannot remove snapshots: %s", place, error)


def _settings_at(trial: TrialRecord, evaluation: int, sweep: SweepSpec) -> Mapping[str, Scalar]:
    """Return the searched values that a member trained with up to an evaluation."""
    before = [exploit for exploit in trial.schedule if exploit.evaluation < evaluation]
    if before:
        return before[-1].settings
    spec = trial.trial_spec
    values = {path: get_field(spec, path) for path in sweep.search.parameters}
    return {path: value for path, value in values.items() if value is not None}
