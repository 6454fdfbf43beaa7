"""Draws from the search space by Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from droplora_sweep.records.trial import PlannedTrial
from droplora_sweep.spec import Choice, active_order, is_active, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna

    from droplora_sweep.spec import Parameter, Scalar, SweepSpec, TrialSpec


def suggest(
    trial: optuna.trial.Trial,
    sweep: SweepSpec,
    identify: Callable[[int, TrialSpec], tuple[str, str]],
) -> PlannedTrial:
    """Draw a value for every parameter that is searched in this trial.

    Args:
        trial: The trial in the study, which draws values.
        sweep: The space.
        identify: Trial id and fingerprint of a numbered trial.
    """
    params = draw_all(trial, sweep)
    spec = resolve(params, sweep)
    trial_id, fingerprint = identify(trial.number, spec)
    return PlannedTrial.of(
        spec, params, trial_id=trial_id, number=trial.number, fingerprint=fingerprint
    )


def draw_all(trial: optuna.trial.Trial, sweep: SweepSpec) -> dict[str, Scalar]:
    """Draw a raw value for every parameter that is active beside those drawn before it."""
    values: dict[str, Scalar] = {}
    for path in active_order(sweep):
        if is_active(path, values, sweep):
            values[path] = draw(trial, path, sweep.search.parameters[path])
    return values


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the parameter's domain in Optuna's terms."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    log = parameter.scale == "log"
    if parameter.is_integer:
        step = int(parameter.step) if parameter.step is not None else 1
        return IntDistribution(int(parameter.min), int(parameter.max), log=log, step=step)
    return FloatDistribution(parameter.min, parameter.max, log=log, step=parameter.step)


def draw(trial: optuna.trial.Trial, path: str, parameter: Parameter) -> Scalar:
    """Draw the parameter's raw value in this trial."""
    domain = distribution(parameter)
    if isinstance(domain, CategoricalDistribution):
        value: Scalar = trial.suggest_categorical(path, domain.choices)  # type: ignore[assignment]
        return value
    if isinstance(domain, IntDistribution):
        return trial.suggest_int(path, domain.low, domain.high, step=domain.step, log=domain.log)
    assert isinstance(domain, FloatDistribution)
    return trial.suggest_float(path, domain.low, domain.high, step=domain.step, log=domain.log)
