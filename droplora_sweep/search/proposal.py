"""A point of the search space, drawn by Optuna and named by what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from droplora_sweep.spec import Choice, active_order, is_active, resolve
from droplora_sweep.spec.fields import get_field, with_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import optuna

    from droplora_sweep.spec import AdapterStart, Parameter, Scalar, SweepSpec, TrialSpec


@dataclass(frozen=True)
class ProposedTrial:
    """A trial to run.

    Attributes:
        number: Its number in the study, from 0.
        trial_id: Names its folder and its run.
        fingerprint: Digest of everything that changes its result.
        params: Searched values by dotted path, as drawn (alpha as its ratio where searched so).
        spec: The trial in full.
        adjusted: Fields that a trial that is resumed goes on with otherwise, by dotted path.
        stage: ``search``, or ``confirm`` for a setting that is repeated with a seed of its own.
        arm: Of a confirmation trial, the name of the setting that it repeats.
        clone_of: The trial that a user had this one made from; None where the search drew it.
        start: The adapter that its training starts from; None for a fresh one.
        shown: Of a clone, its searched fields and those that were set; None for other trials.
    """

    number: int
    trial_id: str
    fingerprint: str
    params: dict[str, Scalar]
    spec: TrialSpec
    adjusted: Mapping[str, Scalar] = field(default_factory=dict)
    stage: str = "search"
    arm: str | None = None
    clone_of: str | None = None
    start: AdapterStart | None = None
    shown: Mapping[str, Scalar] | None = None

    @property
    def spec_to_run(self) -> TrialSpec:
        """The spec with what was adjusted."""
        return with_fields(self.spec, self.adjusted)

    @property
    def settings(self) -> dict[str, Scalar]:
        """Searched values by dotted path as the trial has them: alpha, not its ratio."""
        if self.shown is not None:
            return dict(self.shown)
        values = {path: get_field(self.spec, path) for path in self.params}
        return {path: value for path, value in values.items() if value is not None}


def suggest(
    trial: optuna.trial.Trial,
    sweep: SweepSpec,
    identify: Callable[[int, TrialSpec], tuple[str, str]],
) -> ProposedTrial:
    """Draw a value for every parameter that is searched in this trial.

    Args:
        trial: Where values are drawn.
        sweep: The space.
        identify: Trial id and fingerprint of a numbered trial.
    """
    params: dict[str, Scalar] = {}
    for path in active_order(sweep):
        if is_active(path, params, sweep):
            params[path] = draw(trial, path, sweep.search.parameters[path])
    spec = resolve(params, sweep)
    trial_id, fingerprint = identify(trial.number, spec)
    return ProposedTrial(trial.number, trial_id, fingerprint, params, spec)


def distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter's domain in Optuna's terms."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    log = parameter.scale == "log"
    if parameter.is_integer:
        step = int(parameter.step) if parameter.step is not None else 1
        return IntDistribution(int(parameter.min), int(parameter.max), log=log, step=step)
    return FloatDistribution(parameter.min, parameter.max, log=log, step=parameter.step)


def draw(trial: optuna.trial.Trial, path: str, parameter: Parameter) -> Scalar:
    """The parameter's raw value in this trial."""
    domain = distribution(parameter)
    if isinstance(domain, CategoricalDistribution):
        value: Scalar = trial.suggest_categorical(path, domain.choices)  # type: ignore[assignment]
        return value
    if isinstance(domain, IntDistribution):
        return trial.suggest_int(path, domain.low, domain.high, step=domain.step, log=domain.log)
    assert isinstance(domain, FloatDistribution)
    return trial.suggest_float(path, domain.low, domain.high, step=domain.step, log=domain.log)
