"""Optuna's sampler for each kind of `search.sampler`.

CMA-ES: Optuna's own keeps the state of the strategy as a pickle in the study. Here it is worked out
anew for each trial, from the finished ones in generations; that takes milliseconds, a study made
anew from the ledger has it too, and nothing is unpickled.

A sampler is made for one draw, with a seed of that draw's own, and knows no more than the study.
So a resumed search draws what it would have drawn, and the order in which trials were told
leaves no trace.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from cmaes import CMA
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from droplora_sweep.spec import CmaEsSpec, GpSpec, Nsga2Spec, Range, TpeSpec

from .proposal import distribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from droplora_sweep.spec import SweepSpec


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


def make_sampler(sweep: SweepSpec, num_drawn: int) -> optuna.samplers.BaseSampler:
    """The sampler for the next draw.

    Of a grid and of a quasi-random sequence the points are queued (`searcher`), and the sampler,
    a random one, is not asked.

    Args:
        sweep: Has the kind, its options and the seed.
        num_drawn: Trials drawn before.
    """
    seed = draw_seed(sweep.seed, num_drawn)
    options, num_startup = sweep.search.sampler, sweep.search.num_startup_trials
    with warnings.catch_warnings():
        # That an option may change is what the bounds of the dependency are for.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(options, TpeSpec):
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=num_startup,
                n_ei_candidates=options.num_candidates,
                multivariate=True,
                group=True,
                constant_liar=True,
            )
        if isinstance(options, GpSpec):
            _keep_torch_to_one_thread()
            return optuna.samplers.GPSampler(
                seed=seed,
                n_startup_trials=num_startup,
                deterministic_objective=options.deterministic,
                warn_independent_sampling=False,
            )
        if isinstance(options, CmaEsSpec):
            return CmaEsSampler(sweep, options, seed)
        if isinstance(options, Nsga2Spec):
            return optuna.samplers.NSGAIISampler(
                seed=seed,
                population_size=options.population_size,
                crossover_prob=options.crossover_probability,
            )
    return optuna.samplers.RandomSampler(seed=seed)


def _keep_torch_to_one_thread() -> None:
    """The matrices of a Gaussian process are small: more threads wait for each other.

    This process, the driver, computes nothing else with torch.
    """
    import torch

    torch.set_num_threads(1)


def population_attributes(sweep: SweepSpec, num_complete: int) -> dict[str, int]:
    """Attributes that NSGA-II reads from a complete trial that is added to a study: its generation.

    Args:
        sweep: Has the sampler.
        num_complete: Complete trials before it.
    """
    options = sweep.search.sampler
    if not isinstance(options, Nsga2Spec):
        return {}
    return {"NSGAIISampler:generation": num_complete // options.population_size}


def draw_seed(seed: int, num_drawn: int) -> int:
    """A seed of its own for each draw of a sweep."""
    return int(np.random.SeedSequence([seed, num_drawn]).generate_state(1)[0])
