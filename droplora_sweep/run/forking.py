"""A fork: a new sweep that starts from the results of another one in the same storage.

Its sampler and its rungs know every finished trial that lies in the new space. A trial that is the
same there (its fingerprint is equal: spec, data, packages, workers) is *taken over*: its adapter
and results are copied, so that neither sweep needs the other's folder, and it counts as one of the
new sweep's trials. The trials that the sampler knows are kept in the ledger's first event.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.ledger.files import read_results, verified_files
from droplora_sweep.ledger.reader import Ledger, has_sweep
from droplora_sweep.records.trial import PastTrial, PlannedTrial, TrialState
from droplora_sweep.search.history import trial_history
from droplora_sweep.spec import TrialSpec, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import SweepSpec


def past_of(
    origin: SweepRecord,
    sweep: SweepSpec,
    identify: Callable[[int, TrialSpec], tuple[str, str]],
) -> tuple[PastTrial, ...]:
    """Return what a fork knows of the sweep that it starts from. Pure.

    Args:
        origin: That sweep.
        sweep: The fork.
        identify: Names the fork's trials, by number and spec.
    """
    past: list[PastTrial] = []
    same_rule = origin.spec["search"]["stopping"] == sweep.search.stopping.model_dump(mode="json")
    for trial in origin.search_trials:
        known = trial_history(trial, sweep.search.metric)
        if not trial.is_finished or known.state is TrialState.FAILED:
            continue
        try:
            spec = resolve(dict(trial.drawn), sweep)
        except InputError:
            continue
        name, digest = identify(len(past), spec)
        is_final = same_rule or trial.state is TrialState.COMPLETE
        past.append(
            PastTrial(
                number=len(past),
                origin=f"{origin.name}/{trial.trial_id}",
                drawn=trial.drawn,
                state=trial.state,
                scores=known.scores,
                taken_over=name if digest == trial.fingerprint and is_final else None,
            )
        )
    return tuple(past)


def take_over(ledger: LedgerWriter) -> list[str]:
    """Copy the trials that a fork takes over and does not have yet.

    Returns:
        A line for each that cannot be had any more; it is trained again when it is drawn again.
    """
    finished = {trial.trial_id for trial in ledger.records() if trial.is_finished}
    problems = []
    for past in ledger.record.past:
        if past.taken_over is None or past.taken_over in finished:
            continue
        try:
            _copy(ledger, past)
        except (SweepError, OSError, KeyError) as error:
            problems.append(f"{past.origin} is not taken over: {error}")
    return problems


def confirmed_elsewhere(ledger: Ledger) -> dict[str, tuple[str, TrialRecord]]:
    """Return the complete confirmation runs of a fork's origins: ``sweep/run``, by fingerprint.

    An origin that is no longer in the storage has none.
    """
    found: dict[str, tuple[str, TrialRecord]] = {}
    forked = [past for past in ledger.record.past if not past.is_prior]
    for name in dict.fromkeys(past.origin.partition("/")[0] for past in forked):
        if has_sweep(ledger.storage, name):
            for trial in Ledger.open(ledger.storage, name).confirm_records():
                if trial.state is TrialState.COMPLETE:
                    found.setdefault(trial.fingerprint, (f"{name}/{trial.trial_id}", trial))
    return found


def _copy(ledger: LedgerWriter, past: PastTrial) -> None:
    assert past.taken_over is not None
    sweep_name, _, name = past.origin.partition("/")
    trial = Ledger.open(ledger.storage, sweep_name).trial(name)
    planned = PlannedTrial.of(
        trial.trial_spec,
        trial.drawn,
        trial_id=past.taken_over,
        number=past.number,
        fingerprint=trial.fingerprint,
    )
    copy_trial(ledger, trial, past.origin, planned)


def copy_trial(
    ledger: LedgerWriter, trial: TrialRecord, origin: str, planned: PlannedTrial
) -> None:
    """Take over another sweep's trial: all that it left but test scores.

    Args:
        ledger: Of the sweep that it is copied into.
        trial: The trial.
        origin: Its sweep and its id: ``first/t0007-3f2a91bc``.
        planned: Its id, number and stage in the new sweep.

    Raises:
        SweepError: Its adapter is damaged, or the ledger cannot be written.
    """
    files = None if trial.adapter is None else verified_files(trial)
    planned = replace(planned, params=trial.params, drawn=trial.drawn)
    ledger.trial_started(planned, origin=origin)
    for evaluation in trial.evaluations:
        ledger.trial_reported(planned.trial_id, replace(evaluation, outcomes={}))
    ledger.trial_finished(
        planned.trial_id,
        trial.state,
        reason=trial.reason,
        metrics=trial.metrics,
        adapter_files=None if files is None else files.copied(),
        results=_results(trial),
    )


def _results(trial: TrialRecord) -> Any:
    if trial.results is None:
        return None
    return [SimpleNamespace(**row) for row in read_results(trial.results)]
