"""Plan of a sweep: its trials, groups, steps, sizes and costs, from the survey of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.adapters.sizes import num_saved_numbers, num_trainable_parameters
from droplora_sweep.groups.capacity import group_capacity
from droplora_sweep.spec import baselines, file_notes, grid_size, resolve, trial_limit
from droplora_sweep.spec.fidelity import fidelity_text
from droplora_sweep.spec.fields import get_field
from droplora_sweep.spec.locations import is_url
from droplora_sweep.spec.methods import method_of
from droplora_sweep.training.schedule import learning_rate, num_steps, warmup_steps

from .advice.advice import advice_on
from .as_loaded import adapter_corners, corners
from .costs.activations import FP32_BYTES
from .costs.memory import NUMBER_BYTES
from .costs.serving import least_bytes
from .plan_costs import NOTHING_ASSUMED, Assumed, plan_costs
from .room import NO_GPUS_HERE, lacks_gpus_at_all
from .survey import remote_code_note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.spec import Scalar, SweepSpec, TrainingSpec

    from .plan_costs import Costs
    from .survey import Survey


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Sizes of what trials train and leave behind.

    Attributes:
        num_trainable_parameters: Fewest and most trainable parameters of a trial.
        adapter_bytes: Size of the largest adapter; None where every trial is a full model.
        full_model_bytes: Size of a full model, which ``method: full`` saves; None where no trial
            has it.
        disk_bytes: Upper bound of what all trials (one, where their number is not known) and all
            runs of the confirmation save, in the storage and again in MLflow's artifacts, each at
            the largest size.
    """

    num_trainable_parameters: tuple[int, int]
    adapter_bytes: int | None
    full_model_bytes: int | None
    disk_bytes: int


@dataclass(frozen=True)
class LearningRates:
    """Fewest and most, or lowest and highest, of the trials that the space allows.

    Attributes:
        num_warmup_steps: Steps before the peak.
        peak: The highest learning rate that a step has.
        last: The last step's.
    """

    num_warmup_steps: tuple[int, int]
    peak: tuple[float, float]
    last: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PlannedHours:
    """GPU hours of training, as many as a sweep can take if no trial is stopped early.

    Attributes:
        search: Of all trials of the search.
        confirmation: Of the most runs that the confirmation may have; 0 without one.
        total: Both.
    """

    search: float
    confirmation: float
    total: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a sweep, as `plan` shows it.

    Attributes:
        num_trials: Trials in all; None where only a budget of hours ends the search.
        num_confirmed: Fewest and most runs of the confirmation, which the search's results decide;
            None without one.
        num_settings: Different settings the space has; None where it is continuous.
        num_groups: Trials that train side by side; None where these nodes have no GPU and groups
            need some.
        num_steps: Fewest and most optimiser steps of a trial of the search.
        num_confirm_steps: The same of the confirmation's runs, which are at full fidelity.
        learning_rates: Learning rates of these steps.
        saved: Sizes of what trials train and save; None where the model's layers are not known.
        splits: Examples per benchmark and split.
        queued: Searched fields of the trials that run first, by dotted path.
        notes: Remarks for the user, one line each.
        advice: What is odd in the file, though it is no fault, one line each.
        unchecked: Assumptions that only a run checks, one line each.
        costs: Costs of the most expensive trials at full fidelity; None where the model's sizes
            are not known.
        search_costs: The same of the search's trials.
        fidelity: What these are trained on, in words; None where it is everything.
        work_per_trial: Training of a trial of the search, in that of a run of the confirmation.
        transport: Way of checkpoints and adapters to the storage, as far as it is known before
            groups start.
    """

    num_trials: int | None
    num_confirmed: tuple[int, int] | None
    num_settings: int | None
    num_groups: int | None
    num_steps: tuple[int, int]
    num_confirm_steps: tuple[int, int]
    learning_rates: LearningRates
    saved: Saved | None
    splits: dict[str, dict[str, int]]
    queued: tuple[dict[str, Scalar | None], ...]
    notes: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    costs: Costs | None = None
    search_costs: Costs | None = None
    fidelity: str | None = None
    work_per_trial: float = 1.0
    transport: str = ""

    @property
    def gpu_hours(self) -> PlannedHours | None:
        """GPU hours of the sweep; None where the GPUs, the model or the trials are not known."""
        if self.costs is None or self.search_costs is None or self.num_trials is None:
            return None
        per_trial, per_run = self.search_costs.trial_gpu_hours, self.costs.trial_gpu_hours
        if per_trial is None or per_run is None:
            return None
        num_runs = 0 if self.num_confirmed is None else self.num_confirmed[1]
        search, confirmation = self.num_trials * per_trial, num_runs * per_run
        return PlannedHours(search=search, confirmation=confirmation, total=search + confirmation)


SCHEDULE = (
    "training.epochs",
    "training.global_batch_size",
    "training.learning_rate",
    "training.warmup_ratio",
    "training.learning_rate_schedule",
    "training.warmup_steps",
)
"""Fields that decide how many steps a trial takes, and with which learning rates."""


def make_plan(
    found: Survey, nodes: Sequence[Mapping[str, float]], assumed: Assumed = NOTHING_ASSUMED
) -> Plan:
    """Work out what a sweep takes on a cluster of these nodes."""
    sweep, searched = found.sweep, found.at_search_fidelity()
    schedules = _schedules(searched)
    steps = [number for number, _ in schedules]
    full_steps = [number for number, _ in _schedules(found)]
    settings = grid_size(sweep)
    num_trials = min(
        (number for number in (trial_limit(sweep), settings) if number is not None), default=None
    )
    # Nodes that hold no group are those of a cluster that is still to grow.
    room = group_capacity(sweep.group, nodes) or None
    num_groups = room if room is None or num_trials is None else min(room, num_trials)
    num_benchmarks = len(sweep.task.benchmarks)
    num_confirmed = None if sweep.confirm is None else sweep.confirm.num_runs(num_benchmarks)
    num_saved = (num_trials or 1) + (num_confirmed[1] if num_confirmed else 0)
    saved = None if found.model is None else _saved(found, found.model, num_saved)
    costs = plan_costs(found, nodes, assumed)
    search_costs = costs if searched is found else plan_costs(searched, nodes, assumed)
    lines = [
        remote_code_note(sweep),
        *file_notes(sweep),
        _judge_note(found, num_trials or 1),
        _vllm_note(sweep, costs),
        _population_note(sweep, saved, num_trials or 1),
        _warmup_note(schedules),
        *(() if found.model is None else found.model.notes),
    ]
    return Plan(
        num_trials=num_trials,
        num_confirmed=num_confirmed,
        num_settings=settings,
        num_groups=num_groups,
        num_steps=(min(steps), max(steps)),
        num_confirm_steps=(min(full_steps), max(full_steps)),
        learning_rates=_learning_rates(schedules),
        saved=saved,
        splits=found.splits,
        queued=_queued(sweep) if sweep.search.queue_baselines else (),
        notes=(*filter(None, lines), *found.data_notes),
        advice=tuple(one.text for one in advice_on(found)),
        costs=costs,
        search_costs=search_costs,
        work_per_trial=_work_per_trial(found, costs, search_costs),
        fidelity=fidelity_text(sweep.model_dump(mode="json")),
        transport=transport_text(sweep),
        unchecked=(
            *found.unchecked,
            *([NO_GPUS_HERE] if lacks_gpus_at_all(sweep.group, nodes) else []),
        ),
    )


def transport_text(sweep: SweepSpec) -> str:
    """Return the way of checkpoints and adapters to the storage, in words."""
    storage, transport = sweep.storage, sweep.group.checkpoint_transport
    through_ray = "in pieces through Ray to the driver's node"
    if transport == "ray":
        return f"{through_ray}, which writes them to {storage}"
    if is_url(storage):
        return f"each worker writes checkpoints to {storage}; adapters go {through_ray}"
    if transport == "storage":
        return f"each worker writes to {storage}; a group whose node does not see it ends the sweep"
    return (
        f"a worker whose node sees {storage} writes there, any other sends them {through_ray}; "
        "which of them it is shows when groups start"
    )


def _work_per_trial(found: Survey, costs: Costs | None, search_costs: Costs | None) -> float:
    """By operations where they are known."""
    if costs is None or search_costs is None:
        return 1 / found.confirm_work if found.num_search_examples else 1.0
    return search_costs.flops / costs.flops if costs.flops else 1.0


def _schedules(found: Survey) -> list[tuple[int, TrainingSpec]]:
    """Steps and training of the trials at the ends of what decides about steps."""
    return [
        (num_steps(found.num_training_examples, trial.training), trial.training)
        for trial in corners(found.sweep, SCHEDULE)
    ]


def _queued(sweep: SweepSpec) -> tuple[dict[str, Scalar | None], ...]:
    found = [(values, resolve(values, sweep)) for values in baselines(sweep)]
    return tuple({path: get_field(trial, path) for path in values} for values, trial in found)


def _saved(found: Survey, model: ModelSummary, num_saved: int) -> Saved:
    sweep = found.sweep
    number_bytes = NUMBER_BYTES[sweep.model.dtype]
    adapters = [trial.adapter for trial in adapter_corners(sweep)]
    if found.as_loaded is None:
        counts = [
            (num_trainable_parameters(model.shapes, one), num_saved_numbers(model.shapes, one))
            for one in adapters
        ]
    else:
        counts = [(one.num_trained, one.num_saved) for one in found.as_loaded.attached]
    parameters = [num_trained for num_trained, _ in counts]
    sizes = {
        is_full: max(
            (
                number * number_bytes
                for adapter, (_, number) in zip(adapters, counts, strict=True)
                if method_of(adapter.method).has_rank != is_full
            ),
            default=None,
        )
        for is_full in (False, True)
    }
    return Saved(
        num_trainable_parameters=(min(parameters), max(parameters)),
        adapter_bytes=sizes[False],
        full_model_bytes=sizes[True],
        disk_bytes=2 * num_saved * max(size for size in sizes.values() if size is not None),
    )


def _population_note(sweep: SweepSpec, saved: Saved | None, num_trials: int) -> str | None:
    """Return a note on the snapshots that a population keeps until its search is over."""
    if sweep.search.population is None or saved is None:
        return None
    # The weights and AdamW's two moments in fp32.
    snapshot_bytes = 3 * FP32_BYTES * saved.num_trainable_parameters[1]
    num_snapshots = num_trials * (sweep.evaluation.num_evaluations - 1)
    return (
        f"population: {num_snapshots:,} snapshots of {snapshot_bytes:,} bytes are kept on top, one "
        "of each member at each evaluation but the last, until the search is over"
    )


def _judge_note(found: Survey, num_trials: int) -> str | None:
    """Return a note on the most ratings that a judge may be asked for."""
    evaluation = found.sweep.evaluation
    num_ratings = 2 * found.num_judged
    if evaluation.judge is None or not num_ratings:
        return None
    # The untrained model's is one more.
    num_evaluations = num_trials * evaluation.num_evaluations + 1
    return (
        f"the judge {evaluation.judge.model} is asked for up to "
        f"{num_evaluations * num_ratings:,} ratings: {num_ratings:,} at each of "
        f"{num_evaluations:,} evaluations, one of them the untrained model's, those in its cache "
        "for free"
    )


def _vllm_note(sweep: SweepSpec, costs: Costs | None) -> str | None:
    """Return a note on a share of a GPU in which vLLM cannot hold its model."""
    if sweep.evaluation.backend != "vllm" or costs is None or costs.gpu_bytes is None:
        return None
    needed, share = least_bytes(costs.memory), costs.memory.server
    if share > needed:
        return None
    return (
        f"evaluation.vllm_memory_share: {sweep.evaluation.vllm_memory_share:g} of a GPU are "
        f"{share / 1e9:.1f} GB, and vLLM's own base model and adapter take {needed / 1e9:.1f} GB "
        "before its KV cache: it would not start, and transformers would decode"
    )


def _learning_rates(schedules: Sequence[tuple[int, TrainingSpec]]) -> LearningRates:
    warmups, peaks, lasts = [], [], []
    for number, training in schedules:
        warmups.append(warmup_steps(number, training))
        peaks.append(learning_rate(warmups[-1], number, training))
        lasts.append(learning_rate(number - 1, number, training))
    return LearningRates(
        (min(warmups), max(warmups)), (min(peaks), max(peaks)), (min(lasts), max(lasts))
    )


def _warmup_note(schedules: Sequence[tuple[int, TrainingSpec]]) -> str | None:
    """Return a note on a warmup of more steps than the shortest trial has."""
    number, training = min(schedules, key=lambda schedule: schedule[0])
    wanted, warmup = training.warmup_steps, warmup_steps(number, training)
    if wanted is None or wanted <= warmup:
        return None
    return (
        f"training.warmup_steps: {wanted} are more than a trial of {number} steps has before its "
        f"last, so {warmup} warm up; training.warmup_ratio is a share of the trial's steps"
    )
