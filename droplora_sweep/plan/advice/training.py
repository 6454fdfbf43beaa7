"""Advice on training: its precision, too few steps, or a stopping rule that comes too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.plan.as_loaded import corners
from droplora_sweep.spec import AshaSpec, FutilitySpec, HyperbandSpec, MedianSpec
from droplora_sweep.spec.trial import BUILTIN
from droplora_sweep.training.schedule import evaluation_steps, num_steps, warmup_steps

from .line import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.plan.survey import Survey
    from droplora_sweep.spec import SweepSpec

FEW_STEPS = 20
"""With fewer optimiser steps a trial has hardly begun when its learning rate ends."""
DECISIVE = (
    "training.epochs",
    "training.global_batch_size",
    "training.warmup_ratio",
    "training.warmup_steps",
)


def _precision(sweep: SweepSpec) -> Iterator[Advice]:
    if sweep.group.gpus_per_worker and sweep.model.dtype == "float32":
        if sweep.model.path == BUILTIN:
            return
        odd = "float32 on GPUs takes twice the memory and a multiple of the time of bfloat16"
        remedy = "leave it out, or set bfloat16, as GPUs since 2020 have"
        yield Advice("model.dtype", odd, remedy)


def training_advice(found: Survey) -> Iterator[Advice]:
    """Yield what is odd about the precision and the steps of the search's trials."""
    yield from _precision(found.sweep)
    if not found.num_search_examples:
        return
    searched = found.at_search_fidelity()
    number = searched.num_training_examples
    schedules = [
        (num_steps(number, trial.training), trial.training)
        for trial in corners(searched.sweep, DECISIVE)
    ]
    steps, training = min(schedules, key=lambda one: one[0])
    if steps < FEW_STEPS:
        odd = (
            f"{training.epochs} of {number:,} examples in batches of {training.global_batch_size} "
            f"are {steps} optimiser step{'s' * (steps != 1)}"
        )
        where = "training.epochs" if found.sweep.search.fidelity is None else "search.fidelity"
        yield Advice(where, odd, "train longer, on more, or with a smaller `global_batch_size`")
    rule = found.sweep.search.stopping
    if not isinstance(rule, AshaSpec | HyperbandSpec | MedianSpec | FutilitySpec):
        return
    for steps, training in schedules:
        ends = evaluation_steps(steps, found.sweep.evaluation.num_evaluations)
        first = ends[min(rule.grace_evaluations, len(ends)) - 1]
        warmup = warmup_steps(steps, training)
        if len(ends) > rule.grace_evaluations and first <= warmup:
            odd = (
                f"{rule.kind} may stop a trial after step {first}, while its learning rate rises "
                f"for {warmup} steps"
            )
            yield Advice("search.stopping", odd, "raise `grace_evaluations`, or shorten the warmup")
            return
