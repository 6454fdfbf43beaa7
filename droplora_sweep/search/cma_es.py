"""CMA-ES whose state is what the study's trials say, and nothing else.

Optuna's own keeps the state of the strategy as a pickle in the study. Here it is worked out anew
for each trial, from the finished ones in generations; that takes milliseconds, a study made anew
from the ledger has it too, and nothing is unpickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from cmaes import CMA
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from droplora_sweep.spec import Range

from .suggestion import distribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from droplora_sweep.spec import CmaEsSpec, SweepSpec


class CmaEsSampler(BaseSampler):
    """Draws the next trial of a single-objective study that maximises.

    The first complete trials, ``search.num_startup_trials`` of them, are random; the best of them
    is where the strategy begins. Those that follow are told to it in generations, in the order of
    their numbers; trials stopped early are not. Once it has converged it begins anew elsewhere.

    Args:
        sweep: The space; its ranges without ``when`` are what the strategy moves in.
        options: Of the sampler.
        seed: Of this draw.
    """

    def __init__(self, sweep: SweepSpec, options: CmaEsSpec, seed: int) -> None:
        self._ranges: Mapping[str, Range] = {
            path: parameter
            for path, parameter in sweep.search.parameters.items()
            if isinstance(parameter, Range) and not parameter.when and parameter.size != 1
        }
        self._num_startup_trials = sweep.search.num_startup_trials
        self._options = options
        self._seed = seed
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {path: distribution(parameter) for path, parameter in self._ranges.items()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        complete = [
            (self._positions(each.params), float(each.values[0]))
            for each in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ]
        if len(complete) < self._num_startup_trials:
            return {}
        strategy = self._replayed(complete)
        strategy.reseed_rng(self._seed)
        found = zip(self._ranges.items(), strategy.ask(), strict=True)
        return {path: parameter.at(float(position)) for (path, parameter), position in found}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _positions(self, params: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([one.position(params[path]) for path, one in self._ranges.items()])

    def _replayed(self, complete: Sequence[tuple[Any, float]]) -> CMA:
        first, rest = complete[: self._num_startup_trials], complete[self._num_startup_trials :]
        mean, _ = max(first, key=lambda pair: pair[1])
        strategy = self._begun(mean)
        size = strategy.population_size
        for start in range(0, len(rest) - size + 1, size):
            generation = rest[start : start + size]
            strategy.tell([(position, -score) for position, score in generation])
            if strategy.should_stop():
                fresh = np.random.default_rng(start).random(len(self._ranges))
                strategy = self._begun(fresh)
        return strategy

    def _begun(self, mean: np.ndarray[Any, np.dtype[np.float64]]) -> CMA:
        return CMA(
            mean=np.clip(mean, 0.0, 1.0).astype(np.float64),
            sigma=self._options.initial_width,
            bounds=np.array([[0.0, 1.0]] * len(self._ranges)),
            population_size=self._options.population_size,
            seed=0,
        )
