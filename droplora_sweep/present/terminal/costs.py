"""What a plan's costs look like in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.present.values import (
    format_bytes,
    format_count,
    format_params,
    format_seconds,
    format_span,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.plan.costs.memory import Memory
    from droplora_sweep.plan.costs.pace import Hindsight, Pace
    from droplora_sweep.plan.plan import Plan
    from droplora_sweep.plan.plan_costs import Costs
    from droplora_sweep.run.calibration import Calibration
    from droplora_sweep.spec import SweepSpec


def cost_rows(sweep: SweepSpec, plan: Plan, utilisation: float) -> Iterator[tuple[str, str]]:
    """A title and a text for each row of a plan; all are upper bounds."""
    costs = plan.costs
    if costs is None or costs.trial_gpu_hours is None:
        yield "time", "not known; `plan --calibrate` measures it on one group, in a few minutes"
    if costs is None:
        yield "memory", "not known: only models with Llama's layers are counted"
        return
    yield "tokens per trial", f"at most {format_count(costs.num_tokens)}"
    place = "GPU" if sweep.group.gpus_per_worker else "worker"
    yield f"memory per {place}", f"at most {format_bytes(costs.memory.peak)}"
    yield "  training", _parts(costs.memory)
    decoding = format_bytes(costs.memory.decoding)
    yield "  evaluation", f"{format_bytes(costs.memory.evaluation)}, KV cache {decoding}"
    if costs.gpu_bytes is not None:
        yield "fits", _fit(costs)
    elif sweep.group.gpus_per_worker:
        yield "fits", "not known: which GPUs? name them with --gpu, or give --gpu-memory"
    if costs.gpu is not None and costs.trial_gpu_hours is not None:
        per_trial = costs.trial_gpu_hours
        more = ""
        if plan.num_trials is not None:
            more += f", {plan.num_trials * per_trial:,.1f} for all trials"
        if plan.num_confirmed is not None:
            hours = format_span(plan.num_confirmed, lambda number: f"{number * per_trial:,.1f}")
            more += f", {hours} for the confirmation"
        peak = costs.gpu.peak_flops / 1e12
        yield (
            "GPU hours",
            f"at most {per_trial:,.1f} for a trial's training{more}, assuming "
            f"{utilisation:.0%} of the {peak:.0f} TFLOP/s of {costs.gpu.name} (not measured; "
            "evaluations come on top)",
        )


def calibration_lines(sweep: SweepSpec, plan: Plan, measured: Calibration) -> Iterator[str]:
    """What a timed minute means for a sweep whose trials all run to their end."""
    pace, num_steps = measured.pace, plan.num_steps[1]
    yield (
        f"measured on one group: {pace.step_s:.3g} s per step of "
        f"{measured.tokens_per_step:,.0f} tokens, {format_seconds(pace.evaluation_s)} per "
        f"evaluation, {format_seconds(pace.overhead_s)} beside them per trial, "
        f"{format_seconds(pace.start_s)} to start, "
        f"{format_bytes(measured.peak_memory_bytes)} of memory at most"
    )
    num_evaluations = sweep.evaluation.num_evaluations
    trial_s = pace.trial_seconds(num_steps, num_evaluations)
    yield f"a trial of {num_steps} steps: {format_seconds(trial_s)}"
    if not plan.num_groups:
        return
    num_groups = plan.num_groups
    num_gpus = sweep.group.num_workers * sweep.group.gpus_per_worker

    def taken(num_runs: int, num_evaluations: int, start_s: float = 0.0) -> str:
        all_s = pace.all_seconds(
            num_steps, num_evaluations, num_trials=num_runs, num_groups=num_groups
        )
        seconds = format_seconds(start_s + all_s)
        hours = num_runs * pace.trial_seconds(num_steps, num_evaluations) * num_gpus / 3600
        return f"{seconds}, {hours:,.1f} GPU hours" if num_gpus else seconds

    if plan.num_trials is not None:
        time = taken(plan.num_trials, num_evaluations, pace.start_s)
        yield f"all {plan.num_trials} trials on {num_groups} groups, none stopped early: {time}"
    if plan.num_confirmed is not None:
        # A run is evaluated at its end alone, there on the examples that decide.
        runs = format_span(plan.num_confirmed, str)
        time = format_span(plan.num_confirmed, lambda number: taken(number, 1))
        yield f"the confirmation's {runs} runs: {time}"


def knob_lines(sweep: SweepSpec, plan: Plan, pace: Pace) -> Iterator[str]:
    """What the time goes to, the most first, and the fields that make it less."""
    num_steps, num_evaluations = plan.num_steps[1], sweep.evaluation.num_evaluations
    trial_s = pace.trial_seconds(num_steps, num_evaluations)
    train_s, evaluation_s = num_steps * pace.step_s, num_evaluations * pace.evaluation_s
    reads = "`evaluation.max_new_tokens`, or `evaluation.choice: score` where answers are options"
    parts = [
        (
            train_s,
            f"training ({num_steps} steps)",
            "`task.num_train`, `training.epochs`, `training.max_sequence_tokens`",
        ),
        (
            evaluation_s,
            f"evaluation ({num_evaluations} times {format_seconds(pace.evaluation_s)})",
            f"`evaluation.num_evaluations`, `task.num_validation`, {reads}",
        ),
        (pace.overhead_s, "what comes beside them", "a smaller `adapter.rank`, fewer targets"),
    ]
    for seconds, what, fields in sorted(parts, reverse=True):
        share = seconds / trial_s if trial_s else 0.0
        yield f"{share:.0%} of a trial is {what}, {format_seconds(seconds)}: less with {fields}"
    if plan.num_trials is not None and plan.num_confirmed is not None:
        search_s = plan.num_trials * trial_s
        run_s = pace.trial_seconds(num_steps, 1)
        ends = [number * run_s for number in plan.num_confirmed]
        low, high = (f"{part / (part + search_s):.0%}" for part in ends)
        share_text = low if low == high else f"{low} to {high}"
        yield (
            f"{share_text} of the sweep is the confirmation: less with `confirm.rates`, "
            "`confirm.seeds`, `confirm.max_runs`; the search's share with `search.num_trials`"
        )


def hindsight_line(found: Hindsight | None) -> str | None:
    """How well the first trial foretold the others."""
    if found is None:
        return None
    low, middle, high = found.ratios
    trials = "1 trial" if found.num_trials == 1 else f"{found.num_trials} trials"
    return (
        f"time: {trials} took {format_seconds(found.real_s)} of training and "
        f"evaluation; at the pace of the first it would be {format_seconds(found.estimated_s)} "
        f"(estimated / real per trial: median {middle:.2f}, {low:.2f} to {high:.2f})"
    )


def _parts(memory: Memory) -> str:
    parts = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "reserve")
    sizes = {name: int(getattr(memory, name)) for name in parts}
    named = ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items() if size)
    return f"{format_bytes(memory.training)}: {named}"


def _fit(costs: Costs) -> str:
    assert costs.gpu_bytes is not None
    name = f"{costs.gpu.name}, " if costs.gpu else ""
    room = f"{name}{format_bytes(costs.gpu_bytes)}"
    if costs.misfit is None:
        return f"every setting, into {room}"
    memory = costs.misfit.memory
    part = memory.largest_part
    setting = format_params(costs.misfit.setting) or "every setting"
    return (
        f"NOT {setting}: needs {format_bytes(memory.peak)}, "
        f"{format_bytes(costs.misfit.missing_bytes)} more than {room}; its largest part is "
        f"{part}, {format_bytes(getattr(memory, part))}"
    )
