"""A sampler that is neither ours nor Optuna's: a random walk from the best trial so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class WalkSampler(BaseSampler):
    """Moves from the best value of each parameter by at most a share of its range."""

    def __init__(self, step: float, seed: int | None = None) -> None:
        if not 0 < step <= 1:
            raise ValueError(f"step must be in (0, 1], got {step}")
        self._step = step
        self._draws = np.random.default_rng(seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        domain: Any = param_distribution
        if isinstance(domain, CategoricalDistribution):
            return domain.choices[self._draws.integers(len(domain.choices))]
        known = [
            each
            for each in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if param_name in each.params
        ]
        middle = (domain.low + domain.high) / 2
        if known:
            middle = max(known, key=lambda each: each.values[0]).params[param_name]
        moved = middle + self._draws.uniform(-1, 1) * self._step * (domain.high - domain.low)
        value = min(max(moved, domain.low), domain.high)
        if domain.step is not None:
            value = domain.low + round((value - domain.low) / domain.step) * domain.step
        return int(value) if isinstance(domain.step, int) else float(value)


class LostSampler(WalkSampler):
    """Draws numbers that no range has."""

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if isinstance(param_distribution, CategoricalDistribution):
            return super().sample_independent(study, trial, param_name, param_distribution)
        return -1.0
