"""The question a sweep asks: which trials are run, and which go on."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .base import Count, SpecModel
from .budget import BudgetSpec
from .parameters import Parameter
from .population import PopulationSpec
from .sampler import SamplerSpec, TpeSpec
from .stopping import AshaSpec, StoppingSpec
from .warm_start import WarmStartSpec


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class SearchSpec(SpecModel):
    """Which trials are run."""

    num_trials: Count | None = None
    """Trials in all, the queued first ones included. Where null: every point with ``sampler:
    grid``, as many as a budget of hours has room for, else 12."""
    budget: BudgetSpec = BudgetSpec()
    """Further limits of the search."""
    metric: str = "val/mean"
    """What the search maximises: ``val/mean`` or ``val/<benchmark>``."""
    objectives: tuple[str, ...] = Field(default=(), strict=False)
    """Several to weigh against each other, or none: first what ``metric`` names (``mean`` or a
    benchmark), which decisions use; then any of ``trainable_parameters``, ``seconds`` (of
    training), ``memory``, ``forgetting`` (perplexity ratio of ``evaluation.held_out_text``), all
    to be low, and benchmarks, to be high."""
    sampler: SamplerSpec = TpeSpec()
    """Who proposes trials: ``tpe``, ``gp``, ``cma_es``, ``random``, ``quasi_random``, ``grid`` or
    ``nsga2``; a name, or a mapping with ``kind`` and options."""
    num_startup_trials: Count = 8
    """Random trials before the model of ``tpe``, ``gp`` or ``cma_es`` is used."""
    stopping: StoppingSpec = AshaSpec()
    """When a trial is stopped early: ``asha``, ``hyperband``, ``median``, ``hopeless`` or ``none``;
    a name, or a mapping with ``kind`` and options."""
    population: PopulationSpec | None = None
    """Population-based training of the searched values as schedules; null: a trial keeps its
    values. Needs ``stopping: {kind: none}``, a ``random`` or ``quasi_random`` sampler and no
    ``confirm``, and searches ranges of ``adapter.pruning_rate``, ``adapter.dropout``,
    ``training.learning_rate`` and ``training.weight_decay`` alone."""
    queue_baselines: bool = True
    """Run the paper's setting and the same with ``pruning_rate: 0`` first."""
    warm_start: tuple[WarmStartSpec, ...] = Field(default=(), strict=False)
    """Earlier results to start from."""
    study: str | None = None
    """Where Optuna's study is kept: ``postgresql://USER@HOST/DATABASE`` (needs the extra
    ``postgresql``), ``journal:///PATH`` (an Optuna journal file), or null for ``study.db`` in the
    sweep's folder."""
    compare: Annotated[
        tuple[str, ...],
        Field(strict=False),
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    ] = ()
    """Searched fields whose values are variants to be compared fairly, e.g. ``adapter.method``:
    each variant has as many trials, begins with the paper's setting, and is proposed by its own
    trials alone. Needs ``stopping: {kind: none}``."""
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """What is searched: dotted path of a trial's field to its domain."""

    @property
    def is_multi_objective(self) -> bool:
        """Whether several objectives are weighed against each other."""
        return len(self.objectives) > 1
