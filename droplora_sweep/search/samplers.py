"""Optuna's sampler for each kind of `search.sampler`.

A sampler is made for one draw, with a seed of that draw's own, and knows no more than the study.
So a search that goes on draws what it would have drawn, and the order in which trials were told
leaves no trace.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import optuna

from droplora_sweep.spec import CmaEsSpec, GpSpec, Nsga2Spec, TpeSpec

from .cma_es import CmaEsSampler

if TYPE_CHECKING:
    from droplora_sweep.spec import SweepSpec


def make_sampler(sweep: SweepSpec, num_drawn: int) -> optuna.samplers.BaseSampler:
    """The sampler for the next draw.

    Of a grid and of a quasi-random sequence the points are queued (`points`), and the sampler,
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
    """What NSGA-II has to find on a complete trial that is put into a study: its generation.

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
