"""Brings the Optuna study of a continued sweep to what the ledger says, which always wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState as OptunaState

from .samplers import population_attributes
from .suggestion import distribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.trial import FrozenTrial

    from droplora_sweep.spec import SweepSpec

    from .known import Ending, KnownTrial, Told

ORIGIN = "of_earlier_sweep"
"""User attribute of a trial in the study that is none of the sweep's own."""

STATES: Mapping[Ending | None, OptunaState] = {
    None: OptunaState.RUNNING,
    "complete": OptunaState.COMPLETE,
    "stopped": OptunaState.PRUNED,
    "failed": OptunaState.FAIL,
}


@dataclass(frozen=True)
class Untold:
    """What the study has to be told.

    Attributes:
        number: Of which trial.
        state: COMPLETE, PRUNED or FAIL.
        told: Score, or value of each objective, of a complete trial.
    """

    number: int
    state: OptunaState
    told: Told = None


def untold_endings(
    known: Mapping[int, KnownTrial], told: Sequence[FrozenTrial]
) -> list[Untold] | None:
    """What the study was not told before its driver died.

    A trial that the ledger has finished and the study has running, is told. One that the study has
    running and the ledger does not know was drawn and never started: it failed. One that is running
    in both goes on. What the study finished and the ledger does not know (a draw that repeats an
    earlier trial) stays.

    Args:
        known: The ledger's trials by number.
        told: The study's.

    Returns:
        In the order of their numbers; None where no telling helps, since the study lacks a trial,
        has another one under its number, or another end of it.
    """
    told_by_number = {trial.number: trial for trial in told}
    endings = []
    for number, trial in known.items():
        found = told_by_number.get(number)
        state = STATES[trial.ending]
        if found is None or found.params != trial.drawn:
            return None
        if found.state is OptunaState.RUNNING and state is not OptunaState.RUNNING:
            value = trial.told if state is OptunaState.COMPLETE else None
            endings.append(Untold(number, state, value))
        elif found.state is not state:
            return None
    endings += [
        Untold(trial.number, OptunaState.FAIL)
        for trial in told
        if trial.state is OptunaState.RUNNING and trial.number not in known
    ]
    return sorted(endings, key=lambda each: each.number)


def reconciled_study(
    study: optuna.Study, known: Mapping[int, KnownTrial], sweep: SweepSpec
) -> optuna.Study:
    """The study as the ledger has it: told what it missed, or made anew under its name."""
    endings = untold_endings(known, study.get_trials(deepcopy=False))
    if endings is None:
        return _remade(study, known, sweep)
    for ending in endings:
        study.tell(ending.number, ending.told, state=ending.state)
    return study


def _remade(study: optuna.Study, known: Mapping[int, KnownTrial], sweep: SweepSpec) -> optuna.Study:
    name, storage, directions = study.study_name, study._storage, study.directions
    optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    num_complete = 0
    for number in range(max(known, default=-1) + 1):
        # A number that the ledger does not know was of a draw that was never run.
        trial = known.get(number)
        study.add_trial(
            optuna.trial.create_trial(state=OptunaState.FAIL)
            if trial is None
            else _frozen(trial, sweep, num_complete)
        )
        num_complete += trial is not None and trial.ending == "complete"
    return study


def _frozen(trial: KnownTrial, sweep: SweepSpec, num_complete: int) -> FrozenTrial:
    parameters, state = sweep.search.parameters, STATES[trial.ending]
    values = None if trial.score is None else [trial.score]
    if sweep.search.objectives:
        values = None if trial.values is None else list(trial.values)
        # Of another sweep's trials that a fork knows, the score alone is known.
        state = OptunaState.FAIL if state is OptunaState.COMPLETE and values is None else state
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=dict(trial.drawn),
        distributions={path: distribution(parameters[path]) for path in trial.drawn},
        intermediate_values={} if sweep.search.objectives else dict(trial.scores),
        user_attrs={ORIGIN: trial.name} if trial.is_prior else {},
        system_attrs=population_attributes(sweep, num_complete),
    )
