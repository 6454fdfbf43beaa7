"""Trial budgets of a comparison's variants: the next variant, and the trials its sampler sees."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState as OptunaState

from droplora_sweep.spec import variant_key, variants
from droplora_sweep.spec.space import field_value

from .proposal import draw_all
from .samplers import make_sampler

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from droplora_sweep.spec import Scalar, SweepSpec, TrialSpec


class VariantBudgets:
    """Gives every variant of ``search.compare`` the same number of trials, in turns.

    Args:
        sweep: Compares variants, a whole number of trials for each.
        known: Trials that have been run or are running.
    """

    def __init__(self, sweep: SweepSpec, known: Iterable[TrialSpec]) -> None:
        assert sweep.search.num_trials is not None, "a comparison has a number of trials"
        self._sweep = sweep
        self._variants = variants(sweep)
        self._share = sweep.search.num_trials // len(self._variants)
        self._taken = Counter(variant_key(spec, sweep) for spec in known)
        self._exhausted: list[Mapping[str, Scalar]] = []

    def next(self) -> dict[str, Scalar] | None:
        """Return the variant with fewest trials, the first of several; None at the end."""
        waiting = [
            (self._taken[self._key(variant)], index)
            for index, variant in enumerate(self._variants)
            if variant not in self._exhausted and self._taken[self._key(variant)] < self._share
        ]
        return self._variants[min(waiting)[1]] if waiting else None

    def take(self, spec: TrialSpec) -> None:
        """Count a trial of its variant, be it proposed or queued."""
        self._taken[variant_key(spec, self._sweep)] += 1

    def exhaust(self, variant: Mapping[str, Scalar]) -> None:
        """Note that the variant has no setting left that was not run."""
        self._exhausted.append(variant)

    def _key(self, variant: Mapping[str, Scalar]) -> tuple[Scalar | None, ...]:
        sweep = self._sweep
        return tuple(field_value(path, variant, sweep) for path in sweep.search.compare)


def propose(
    study: optuna.Study, sweep: SweepSpec, variant: Mapping[str, Scalar], num_drawn: int
) -> dict[str, Scalar]:
    """Raw values of a new trial of one variant, by a sampler that knows its trials alone.

    Args:
        study: All trials of the sweep.
        sweep: The space and the sampler.
        variant: The values that the trial has in any case.
        num_drawn: Trials drawn before, of all variants.
    """
    own = optuna.create_study(direction="maximize", sampler=make_sampler(sweep, num_drawn))
    for known in study.get_trials(deepcopy=False):
        is_drawn = known.state is not OptunaState.WAITING
        if is_drawn and variant.items() <= known.params.items():
            own.add_trial(known)
    own.enqueue_trial(dict(variant))
    return draw_all(own.ask(), sweep)
