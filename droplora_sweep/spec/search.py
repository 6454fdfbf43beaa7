"""Search of a sweep: sampler, stopping rule, objectives, budget and searched fields."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from droplora_sweep.spec.metric_names import (
    MEAN,
    PEAK_MEMORY_GB,
    PERPLEXITY_RATIO,
    TRAIN_SECONDS,
    TRAINABLE_PARAMETERS,
    score_name,
)

from .base import Count, PathText, Positive, Scalar, SpecModel, as_kind, broken_rule, by_kind
from .fidelity import FidelitySpec
from .locations import TrackingUri, local_folder
from .parameters import Parameter
from .targets import with_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class BudgetSpec(SpecModel):
    """Limits of a search beside its number of trials.

    Once one is reached no further trial starts; those that run are trained to their ends, so that
    what they took is not lost, and the sweep is complete. Raise the limit to continue it.
    """

    gpu_hours: Positive | None = None
    """Hours of all trials so far times the GPUs (on CPU: workers) of a group."""
    wall_clock_hours: Positive | None = None
    """Hours that drivers worked on the sweep so far, those before a resume included, the time
    between them not; checked before each trial of the search, not in its confirmation."""
    target_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Value of ``search.metric`` that is enough, as a fraction; reached by a complete trial."""

    @property
    def limits_time(self) -> bool:
        """True where a search without a number of trials ends."""
        return self.gpu_hours is not None or self.wall_clock_hours is not None


MUTABLE = (
    "adapter.pruning_rate",
    "adapter.dropout",
    "training.learning_rate",
    "training.weight_decay",
)
"""Fields that leave the shapes of what is trained, the steps and the data as they are."""


class PopulationSpec(SpecModel):
    """Population-based training (arXiv 1711.09846), asynchronous: no member waits.

    Every trial is a member. After each of its evaluations but the last, a member that is among the
    worst of all that have reached the same evaluation copies weights and optimiser, as they were at
    that evaluation, from one of the best, and continues with its values, changed at random.
    Baselines never copy; they may be copied from.
    """

    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of the members that are the worst, and of those that are the best; rounded up, and at
    most half of them (the paper's truncation selection has 0.2, Ray Tune 0.25)."""
    min_members: Annotated[int, Field(ge=2)] = 4
    """So many members, the one that asks included, must have reached an evaluation before any
    copies there."""
    resample_probability: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Probability that a copied value is drawn anew from its whole range (Ray Tune's default)."""
    perturbation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Otherwise it is multiplied by 1 + this or 1 - this (the paper's 1.2 or 0.8), within its
    range. A value of 0 stays 0 but for new draws."""


@dataclass(frozen=True)
class ExploitStep:
    """Exploit step of a member after one of its evaluations.

    Attributes:
        evaluation: Number of the evaluation, from 1.
        source: The trial that it copies weights and optimiser from, as they were there; None where
            it continues as it is.
        settings: Every field that the population changes, by dotted path, with its value from here
            on; empty where it continues as it is.
    """

    evaluation: int
    source: str | None = None
    settings: Mapping[str, Scalar] = field(default_factory=dict)


RATE = "adapter.pruning_rate"


class DecideSpec(SpecModel):
    """Trials where the best pruning rate is still open; rank, learning rate and so on are means.

    Every rate gets trials first; then a model of the score, which knows the noise of the examples,
    picks between the rates that may be the best, and p = 0 (top-two sampling, Russo 2016).
    """

    kind: Literal["decide"] = "decide"
    baseline_share: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Share of the trials that p = 0 gets once every rate had its own, 0 to 0.5, whether or not it
    may be the best: what is asked for is the difference to it."""


class TpeSpec(SpecModel):
    """Tree-structured Parzen estimator, over all parameters jointly (arXiv 2304.11127).

    Settings that run now count as poor ones (constant liar), which keeps parallel trials apart.
    """

    kind: Literal["tpe"] = "tpe"
    num_candidates: Count = 24
    """Settings drawn from the model of good ones, of which the likeliest gain is taken."""


class GpSpec(SpecModel):
    """Gaussian process with expected improvement; for few, costly trials of numeric parameters.

    Every parameter has to be searched in every trial: no ``when``.
    """

    kind: Literal["gp"] = "gp"
    deterministic: bool = False
    """True where a trial with another seed would score the same; else noise is fitted too."""


class CmaEsSpec(SpecModel):
    """CMA-ES (arXiv 1604.00772) over the ranges; choices, and what has a ``when``, are random.

    Generations are formed of finished trials in the order of their numbers.
    """

    kind: Literal["cma_es"] = "cma_es"
    initial_width: Annotated[float, Field(gt=0, le=1)] = 1 / 6
    """First standard deviation, as a share of each range."""
    population_size: Annotated[int, Field(ge=4)] | None = None
    """Trials of a generation; 4 + 3 ln(number of ranges) where null (arXiv 1604.00772)."""


class RandomSpec(SpecModel):
    """Every trial independent of all others."""

    kind: Literal["random"] = "random"


class QuasiRandomSpec(SpecModel):
    """A scrambled low-discrepancy sequence: as independent of results as random, more even."""

    kind: Literal["quasi_random"] = "quasi_random"
    sequence: Literal["sobol", "halton"] = "sobol"
    """``sobol`` is most even where the number of trials is a power of two."""


class GridSpec(SpecModel):
    """Every setting of the space once, in an order drawn from the seed; then the search ends."""

    kind: Literal["grid"] = "grid"


class Nsga2Spec(SpecModel):
    """NSGA-II (Deb et al. 2002): an evolving population, for several objectives."""

    kind: Literal["nsga2"] = "nsga2"
    population_size: Annotated[int, Field(ge=2)] = 16
    """Trials of a generation; fewer than Optuna's 50, since sweeps have tens of trials."""
    crossover_probability: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Probability that a setting comes from two parents rather than one."""


class OptunaSamplerSpec(SpecModel):
    """A sampler by its class: any of Optuna, of OptunaHub, or of your own."""

    # Files and ledgers have the key `class`, which no Python attribute can be called.
    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["optuna"] = "optuna"
    class_path: str = Field(alias="class")
    """Subclass of ``optuna.samplers.BaseSampler``: ``package.module.Class``,
    ``package.module:Class``, or ``PATH:Class`` of a Python file or of a package's folder."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of the class. A seed is passed where the class takes one and none is given:
    it follows ``seed`` and the number of trials drawn before the driver started."""

    @property
    def file(self) -> str | None:
        """Python file or package folder of the class; None where a module's name is given."""
        place = self.class_path.rpartition(":")[0]
        return place if "/" in place or place.endswith(".py") else None

    def with_absolute_path(self) -> OptunaSamplerSpec:
        """Return the sampler with its file, if it has one, as an absolute path."""
        if self.file is None:
            return self
        name = self.class_path.rpartition(":")[2]
        path = local_folder(self.file).resolve()
        return self.model_copy(update={"class_path": f"{path}:{name}"})


SINGLE_OBJECTIVE = ("cma_es", "decide")
"""Kinds that can only follow one number."""


_AnySampler = Annotated[
    DecideSpec
    | TpeSpec
    | GpSpec
    | CmaEsSpec
    | RandomSpec
    | QuasiRandomSpec
    | GridSpec
    | Nsga2Spec
    | OptunaSamplerSpec,
    Field(discriminator="kind"),
]
SAMPLERS = by_kind(_AnySampler)
"""Every kind of sampler by its name."""
_SamplerName = Literal["decide", "tpe", "gp", "cma_es", "random", "quasi_random", "grid", "nsga2"]

SamplerSpec = Annotated[
    _AnySampler, BeforeValidator(as_kind, json_schema_input_type=_SamplerName | _AnySampler)
]


class AshaSpec(SpecModel):
    """Asynchronous successive halving over a trial's evaluations (arXiv 1810.05934)."""

    kind: Literal["asha"] = "asha"
    grace_evaluations: Count = 1
    """A trial is never stopped before this many evaluations."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """At each rung the best 1 / reduction_factor of the trials continue."""


class HyperbandSpec(SpecModel):
    """Hyperband (arXiv 1603.06560) as brackets of asynchronous successive halving.

    Bracket ``s`` stops no trial before ``grace_evaluations * reduction_factor ** s`` evaluations.
    Trials go to brackets by their numbers, in the shares that give each bracket the same training.
    """

    kind: Literal["hyperband"] = "hyperband"
    grace_evaluations: Count = 1
    """A trial of the first bracket is never stopped before this many evaluations."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """At each rung of a bracket the best 1 / reduction_factor of its trials continue."""


class MedianSpec(SpecModel):
    """Stops a trial whose best score so far is below the median of the others' running means.

    The rule of Google Vizier (Golovin et al. 2017), at the same evaluation.
    """

    kind: Literal["median"] = "median"
    grace_evaluations: Count = 1
    """A trial is never stopped before this many evaluations."""
    min_trials: Count = 3
    """So many other trials must have reached the evaluation."""


class FutilitySpec(SpecModel):
    """Stops a trial that is behind the best so far by more than chance explains.

    At the same evaluation, the 95 % interval of its difference to the best must lie below 0,
    paired by examples; where they cannot be paired, its own interval must lie below the best's.
    The best of several is ahead by luck too: of ten equal trials, about a quarter are stopped at
    one of four evaluations (simulated, 200 examples). That saves time and decides nothing.
    """

    kind: Literal["futility"] = "futility"
    grace_evaluations: Count = 1
    """A trial is never stopped before this many evaluations."""


class NoStoppingSpec(SpecModel):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


_AnyRule = Annotated[
    AshaSpec | HyperbandSpec | MedianSpec | FutilitySpec | NoStoppingSpec,
    Field(discriminator="kind"),
]
STOPPING_RULES = by_kind(_AnyRule)
"""Every kind of rule by its name."""
_RuleName = Literal["asha", "hyperband", "median", "futility", "none"]


def _stopping_rule(value: object) -> object:
    """The rule's mapping from what a file says; ``hopeless`` is what files called futility."""
    rule = as_kind(value)
    if isinstance(rule, dict) and rule.get("kind") == "hopeless":
        return {**rule, "kind": "futility"}
    return rule


StoppingSpec = Annotated[
    _AnyRule, BeforeValidator(_stopping_rule, json_schema_input_type=_RuleName | _AnyRule)
]


class WarmStartSpec(SpecModel):
    """Trials of an earlier sweep, or of an MLflow experiment that a sweep was published to.

    Those that are trials of this sweep but for their seed (same task, data, model and fixed
    settings, searched values in this space) inform the sampler as they are. Of all others only the
    best settings are taken, as points to run early: their scores are on another scale. Neither
    counts as a trial of this sweep.
    """

    sweep: str | None = None
    """Name of the earlier sweep."""
    storage: PathText | None = None
    """Folder or URL that the sweep is in; this sweep's where null."""
    mlflow_experiment: str | None = None
    """Name of the MLflow experiment, ``tracking.experiment`` of its sweeps."""
    mlflow_uri: TrackingUri | None = None
    """Its tracking server; the store in this sweep's storage where null."""
    max_trials: Count = 100
    """At most so many trials inform the sampler, spread evenly over their ranks."""
    num_points: Count = 3
    """So many of the best settings of another task or model are run early."""

    @model_validator(mode="after")
    def _one_source(self) -> WarmStartSpec:
        if (self.sweep is None) == (self.mlflow_experiment is None):
            raise broken_rule("must have either `sweep` or `mlflow_experiment`")
        if self.storage is not None and self.sweep is None:
            raise broken_rule(f"must be left out without `sweep`, got {self.storage!r}", "storage")
        if self.mlflow_uri is not None and self.mlflow_experiment is None:
            problem = f"must be left out without `mlflow_experiment`, got {self.mlflow_uri!r}"
            raise broken_rule(problem, "mlflow_uri")
        return self

    @property
    def name(self) -> str:
        """Name of the source, for messages."""
        return self.sweep or f"MLflow experiment {self.mlflow_experiment}"


COSTS = {
    "trainable_parameters": TRAINABLE_PARAMETERS,
    "seconds": TRAIN_SECONDS,
    "memory": PEAK_MEMORY_GB,
    "forgetting": PERPLEXITY_RATIO,
}
"""Objectives that are to be low, and the metric of each: trainable parameters; seconds of training
without evaluation, summed over the trial; GB of the worker that uses most; perplexity of
``evaluation.held_out_text`` after training over that before. Every other objective is ``mean`` or
a benchmark, whose score is to be high."""


def metric_of(objective: str) -> str:
    """The metric that trials report.

    >>> metric_of("mean"), metric_of("forgetting")
    ('val/mean', 'perplexity/ratio')
    """
    return COSTS.get(objective, score_name(objective))


def is_maximized(objective: str) -> bool:
    """Return whether more of it is better."""
    return objective not in COSTS


def objective_values(
    objectives: Sequence[str], metrics: Mapping[str, float], seconds: float
) -> tuple[float, ...] | None:
    """A trial's value of each objective; None where one is missing or not finite.

    Args:
        objectives: ``search.objectives``.
        metrics: The trial's last ones.
        seconds: Of training, over the whole trial.
    """
    values = tuple(
        seconds if COSTS.get(name) == TRAIN_SECONDS else metrics.get(metric_of(name), math.nan)
        for name in objectives
    )
    return values if all(map(math.isfinite, values)) else None


AUTO = "auto"
"""Value of ``search.metric`` for which `SweepSpec` has a metric."""


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class SearchSpec(SpecModel):
    """Choice of the trials that are run."""

    num_trials: Count | None = None
    """Trials in all, the queued first ones included. Where null: every point with ``sampler:
    grid``, as many as a budget of hours has room for, else 12."""
    budget: BudgetSpec = BudgetSpec()
    """Further limits of the search."""
    metric: str = score_name(MEAN)
    """Metric that the search improves: a score, ``val/mean`` or ``val/<benchmark>``; or how likely
    the reference responses are, ``bits_per_byte/val/mean`` or ``bits_per_byte/val/<benchmark>``, of
    which less is better; Optuna's study has its negative. ``auto`` is the likelihood over all
    benchmarks, which it has measured and finalists chosen by; or ``val/mean`` where that cannot be:
    with ``objectives``, ``budget.target_score`` or ``evaluation.likelihood: false``. Decisions use
    scores in any case."""
    objectives: tuple[str, ...] = Field(default=(), strict=False)
    """Several to weigh against each other, or none: first what ``metric`` names (``mean`` or a
    benchmark), which decisions use; then any of ``trainable_parameters``, ``seconds`` (of
    training), ``memory``, ``forgetting`` (perplexity ratio of ``evaluation.held_out_text``), all
    to be low, and benchmarks, to be high."""
    sampler: SamplerSpec = TpeSpec()
    """Source of new trials: ``decide``, ``tpe``, ``gp``, ``cma_es``, ``random``, ``quasi_random``,
    ``grid`` or ``nsga2``; a name, or a mapping with ``kind`` and options. ``{kind: optuna, class:
    …}`` is any other sampler of Optuna's interface. Where left out: ``decide`` if several values of
    ``adapter.pruning_rate`` are searched, without ``compare``, ``population`` and ``objectives``;
    else ``tpe``."""
    num_startup_trials: Count = 8
    """Random trials before the model of ``tpe``, ``gp`` or ``cma_es`` is used; with ``decide``,
    trials that are spread over the rates before its model is, or four for each value of a category
    (a method) where those are more and no more than half of the search."""
    fidelity: FidelitySpec | None = None
    """Training that the search's trials have less of, e.g. ``{task.num_train: 0.1}`` for a tenth of
    the examples, while the confirmation trains in full; null: they train as it does. Needs
    ``confirm``."""
    stopping: StoppingSpec = AshaSpec()
    """Rule that stops trials early: ``asha``, ``hyperband``, ``median``, ``futility`` or ``none``;
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
    """Storage of Optuna's study: ``postgresql://USER@HOST/DATABASE`` (needs the extra
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
    parameters: Annotated[dict[str, Parameter], BeforeValidator(with_texts)] = Field(
        default_factory=dict
    )
    """Domain of each searched field, by the field's dotted path."""

    @model_validator(mode="after")
    def _choose_sampler(self) -> SearchSpec:
        """Take the sampler that suits the space where none is named."""
        rate = self.parameters.get(RATE)
        has_other_aim = bool(self.compare or self.population or self.objectives)
        has_rates = rate is not None and rate.size != 1
        if "sampler" not in self.model_fields_set and has_rates and not has_other_aim:
            # The model is frozen for everyone but its validator.
            object.__setattr__(self, "sampler", DecideSpec())
        return self

    @property
    def is_multi_objective(self) -> bool:
        """True where several objectives are weighed against each other."""
        return len(self.objectives) > 1
