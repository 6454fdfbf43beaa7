"""A timed minute on one group: real steps and a real evaluation, and no sweep.

Two short trials of the setting that a sweep runs first go the way every trial goes: pool, lease,
training, evaluation, files. The first warms the group up and says how long a step and an example
take, the second has as many of both as ``STEPS_S`` and ``EVALUATION_S`` have room for. What they
leave is thrown away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import SweepError
from droplora_sweep.plan.costs.pace import Pace
from droplora_sweep.records.messages import Failed
from droplora_sweep.spec import baselines, resolve
from droplora_sweep.spec.at_fidelity import at_search_fidelity
from droplora_sweep.spec.metric_names import (
    EVALUATION_SECONDS,
    PEAK_MEMORY_GB,
    TOKENS_PER_SECOND,
    TRAIN_SECONDS,
)

from .alone import lone_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.plan.survey import Prepared
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.spec import SweepSpec, TrialSpec

    from .alone import LoneGroup

STEPS_S: Final = 25.0
"""Steps are timed for about this long."""
EVALUATION_S: Final = 20.0
"""And an evaluation."""
NUM_WARM_VALIDATION: Final = 4
"""Validation examples per benchmark of the first trial."""
NUM_WARM_STEPS: Final = 3
"""Of the first trial; LoRA-drop trials are not shorter."""
MAX_VALIDATION: Final = 64
"""Most validation examples per benchmark; an evaluation's time is scaled up from them."""


@dataclass(frozen=True)
class Short:
    """Measurements of one short trial.

    Attributes:
        num_steps: Optimiser steps taken.
        train_s: Seconds of its steps.
        evaluation_s: Seconds of its evaluation.
        wall_s: Seconds from handing it in to having its files.
        num_tokens: Tokens that it was trained on, without padding.
        peak_memory_bytes: Peak of the worker that used most.
    """

    num_steps: int
    train_s: float
    evaluation_s: float
    wall_s: float
    num_tokens: float
    peak_memory_bytes: float


@dataclass(frozen=True)
class Calibration:
    """Measurements of a calibration.

    Attributes:
        pace: Seconds of one group's parts of a trial, scaled to whole evaluations.
        tokens_per_step: Tokens of a global batch, without padding.
        peak_memory_bytes: Peak of the worker that used most.
    """

    pace: Pace
    tokens_per_step: float
    peak_memory_bytes: float


def calibrate(prepared: Prepared, address: str, say: Callable[[str], None]) -> Calibration:
    """Run two short trials on one group.

    Args:
        prepared: The sweep, whose name and storage are not used.
        address: ``auto``, ``local``, or a Ray cluster's address.
        say: Shows the user one line.

    Raises:
        SweepError: There is no such cluster, or the setting cannot be trained.
    """
    sweep = prepared.sweep
    trial, num_sources = first_setting(sweep), _num_sources(prepared)
    say(
        "calibrating: starting a group, then training and evaluating for about a minute, or "
        f"longer where {NUM_WARM_STEPS} steps take longer"
    )
    with lone_group(at_search_fidelity(sweep), address, say) as group:
        warm_spec = shortened(trial, NUM_WARM_STEPS, num_sources, NUM_WARM_VALIDATION)
        warm = _run("t0000-calibra0", warm_spec, group)
        num_steps = steps_to_time(warm)
        num_examples = examples_to_time(warm, warm_spec.task.num_validation)
        timed_spec = shortened(trial, num_steps, num_sources, num_examples)
        num_examples = timed_spec.task.num_validation
        step_s = warm.train_s / warm.num_steps
        example_s = warm.evaluation_s / warm_spec.task.num_validation
        say(
            f"calibrating: timing {num_steps} steps of about {step_s:.2g} s, and an evaluation "
            f"of {num_examples} examples per benchmark, about {num_examples * example_s:.2g} s"
        )
        timed = _run("t0001-calibra1", timed_spec, group)
    return read_off(warm, timed, num_examples / sweep.task.num_validation)


def first_setting(sweep: SweepSpec) -> TrialSpec:
    """Return the trial that a sweep runs first."""
    return resolve(baselines(sweep)[0], sweep)


def shortened(
    trial: TrialSpec, num_steps: int, num_sources: int, num_validation: int = MAX_VALIDATION
) -> TrialSpec:
    """Return a trial with data for about so many steps, and one evaluation of fewer examples.

    Args:
        trial: The trial to shorten.
        num_steps: Optimiser steps.
        num_sources: Training sets that ``task.num_train`` limits one by one.
        num_validation: Examples per benchmark, if the trial has as many.
    """
    num_train = -(-num_steps * trial.training.global_batch_size // num_sources)
    limit = trial.task.num_train
    task = trial.task.model_copy(
        update={
            "num_train": num_train if limit is None else min(num_train, limit),
            "num_validation": min(trial.task.num_validation, num_validation),
        }
    )
    training = trial.training.model_copy(update={"epochs": 1})
    if limit is not None and limit < num_train:
        training = training.model_copy(update={"epochs": -(-num_train // limit)})
    evaluation = trial.evaluation.model_copy(update={"num_evaluations": 1})
    return trial.model_copy(update={"task": task, "training": training, "evaluation": evaluation})


def steps_to_time(warm: Short) -> int:
    """Return the steps that take about ``STEPS_S``, at the pace of the first trial."""
    return max(NUM_WARM_STEPS, round(STEPS_S / (warm.train_s / warm.num_steps)))


def examples_to_time(warm: Short, num_validation: int) -> int:
    """Return the examples per benchmark that take about ``EVALUATION_S``, at the same pace.

    Args:
        warm: The first trial.
        num_validation: Of its examples, per benchmark.
    """
    example_s = max(warm.evaluation_s / num_validation, 1e-9)
    return min(MAX_VALIDATION, max(NUM_WARM_VALIDATION, round(EVALUATION_S / example_s)))


def read_off(warm: Short, timed: Short, evaluated_share: float) -> Calibration:
    """Derive a calibration from two short trials.

    The first trial's wall time includes the start of the group.

    Args:
        warm: The first trial.
        timed: The second.
        evaluated_share: Of a whole evaluation's examples, those that were scored.
    """
    overhead_s = max(0.0, timed.wall_s - timed.train_s - timed.evaluation_s)
    start_s = max(0.0, warm.wall_s - warm.train_s - warm.evaluation_s - overhead_s)
    pace = Pace(
        start_s=start_s,
        step_s=timed.train_s / timed.num_steps,
        evaluation_s=timed.evaluation_s / evaluated_share,
        overhead_s=overhead_s,
    )
    memory = max(warm.peak_memory_bytes, timed.peak_memory_bytes)
    return Calibration(pace, timed.num_tokens / timed.num_steps, memory)


def _num_sources(prepared: Prepared) -> int:
    if prepared.task.mixture is not None:
        return 1
    return sum(bool(one.train) for one in prepared.task.benchmarks)


def _run(trial_id: str, spec: TrialSpec, group: LoneGroup) -> Short:
    """Train, time and evaluate one trial.

    Raises:
        SweepError: The trial failed.
    """
    evaluations: list[Evaluation] = []
    started_s = time.monotonic()
    outcome = group.train(trial_id, spec, on_evaluation=evaluations.append)
    wall_s = time.monotonic() - started_s
    if isinstance(outcome, Failed):
        raise SweepError(f"calibration: the trial failed: {outcome.reason}")
    [only] = evaluations
    train_s = only.metrics[TRAIN_SECONDS]
    return Short(
        num_steps=only.step,
        train_s=train_s,
        evaluation_s=only.metrics[EVALUATION_SECONDS],
        wall_s=wall_s,
        num_tokens=only.metrics[TOKENS_PER_SECOND] * train_s,
        peak_memory_bytes=only.metrics[PEAK_MEMORY_GB] * 1e9,
    )
