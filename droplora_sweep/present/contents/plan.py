"""A sweep's plan: what it takes, what was measured, and what would make it less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION
from droplora_sweep.present.misfit import room_text, ways_text, zero_text
from droplora_sweep.present.values import (
    format_bytes,
    format_count,
    format_hours,
    format_params,
    format_seconds,
    format_span,
    plural,
)

from .table import Table, row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.plan.costs.memory import Memory
    from droplora_sweep.plan.costs.pace import Pace
    from droplora_sweep.plan.plan import LearningRates, Plan, Saved
    from droplora_sweep.plan.plan_costs import Costs
    from droplora_sweep.plan.survey import Survey
    from droplora_sweep.run.calibration import Calibration
    from droplora_sweep.spec import SweepSpec


def plan_table(found: Survey, plan: Plan, utilisation: float = ASSUMED_UTILISATION) -> Table:
    """Return what a sweep takes, at this assumed share of a GPU's peak."""
    pairs = (*_plan_rows(found, plan), *cost_rows(found.sweep, plan, utilisation))
    lines = (("note", plan.notes), ("advice", plan.advice), ("not checked", plan.unchecked))
    notes = [
        (title * (index == 0), line) for title, some in lines for index, line in enumerate(some)
    ]
    rows = tuple(row(*pair) for pair in (*pairs, *notes))
    return Table(f"Plan of {found.sweep.name}", ("what", "value"), rows)


def _plan_rows(found: Survey, plan: Plan) -> Iterator[tuple[str, str]]:
    sweep, model = found.sweep, found.model
    settings = "a continuous space"
    if plan.num_settings is not None:
        settings = plural(plan.num_settings, "setting")
    until = "until the budget is spent" if plan.num_trials is None else plan.num_trials
    yield "trials", f"{until}, of {settings}"
    if plan.num_confirmed is not None:
        number = format_span(plan.num_confirmed, str)
        runs = f"{number} further runs of full length, as the search's results ask for"
        confirm = sweep.confirm
        hours = None if confirm is None else confirm.gpu_hours
        unit = "GPU hours" if sweep.group.gpus_per_worker else "worker hours"
        limit = ""
        if hours is not None:
            limit = f", within {format_hours(hours)} {unit} (`confirm.gpu_hours`)"
        is_tested = any(sizes.get("test") for sizes in plan.splits.values())
        then = "; then winners are scored on the test split" if is_tested else ""
        yield "confirmation", f"{runs}{limit}{then}"
    for index, values in enumerate(plan.queued):
        yield "queued first" if index == 0 else "", format_params(values)
    side_by_side = "" if plan.num_groups is None else f"{plan.num_groups} side by side, "
    yield "groups", f"{side_by_side}{plural(sweep.group.num_workers, 'worker')} each"
    yield "checkpoints", plan.transport
    for name, sizes in plan.splits.items():
        yield name, _sizes(sizes)
    if plan.fidelity is not None:
        saved = f"{1 - plan.work_per_trial:.0%} of a trial's training is saved"
        yield "search fidelity", f"{plan.fidelity}: {saved}; the confirmation trains in full"
    yield "steps per trial", _steps_text(plan)
    yield "learning rate", _rates_text(plan.learning_rates)
    decoder = "transformers"
    if sweep.evaluation.backend == "vllm":
        decoder = "vLLM beside each worker, or transformers where that fails"
    yield "evaluations per trial", f"{sweep.evaluation.num_evaluations}, decoded by {decoder}"
    if model is not None and plan.saved is not None:
        numbers = f"{model.architecture}, {format_count(model.num_parameters)} parameters"
        yield "base model", f"{numbers}, {format_bytes(model.weight_bytes)}"
        yield from _saved_rows(plan.saved, "each trial" if plan.num_trials is None else "all")


def _steps_text(plan: Plan) -> str:
    text = f"at most {format_span(plan.num_steps, str)}"
    if plan.fidelity is None:
        return text
    return f"{text}; {format_span(plan.num_confirm_steps, str)} in the confirmation"


def _rates_text(rates: LearningRates) -> str:
    peak, last = (format_span(span, "{:.3g}".format) for span in (rates.peak, rates.last))
    warmup = format_span(rates.num_warmup_steps, str)
    steps = "step" if warmup == "1" else "steps"
    after = "at the first step" if warmup == "0" else f"after {warmup} {steps} of warmup"
    return f"peak {peak} {after}, last {last}"


def _sizes(sizes: Mapping[str, int]) -> str:
    """Return ``96 train, 20 validation, 50 test``, and how many are in none of them, and why."""
    num_left_out = sizes.get("left_out", 0)
    parts = [f"{count:,} {split}" for split, count in sizes.items() if split != "left_out"]
    if num_left_out:
        examples = f"{num_left_out:,} example{'s' * (num_left_out != 1)}"
        parts.append(f"{examples} left out, whose question another split asks too")
    return ", ".join(parts)


def _saved_rows(saved: Saved, whom: str) -> Iterator[tuple[str, str]]:
    yield "trainable parameters", format_span(saved.num_trainable_parameters, format_count)
    disk = f"at most {format_bytes(saved.disk_bytes)} for {whom}"
    if saved.adapter_bytes is not None:
        disk = f"{format_bytes(saved.adapter_bytes)} for the largest adapter, {disk}"
    if saved.full_model_bytes is not None:
        size = format_bytes(saved.full_model_bytes)
        yield "full models", f"each trial with method full saves the whole model, {size}"
    yield "disk", disk


def cost_rows(sweep: SweepSpec, plan: Plan, utilisation: float) -> Iterator[tuple[str, str]]:
    """A title and a text for each row of a plan; all are upper bounds."""
    costs = plan.costs
    if costs is None or costs.trial_gpu_hours is None:
        yield "time", "not known; `plan --calibrate` measures it on one group, in a few minutes"
    if costs is None:
        yield "memory", "not known: only models with Llama's layers are counted"
        return
    yield "tokens per trial", _tokens_text(plan, costs)
    place = "GPU" if sweep.group.gpus_per_worker == 1 else "worker"
    yield "ZeRO", zero_text(sweep.training.zero)
    yield f"memory per {place}", f"at most {format_bytes(costs.memory.peak)}"
    yield "  training", _parts(costs.memory)
    decoding = f"KV cache {format_bytes(costs.memory.decoding)}"
    if costs.memory.server:
        decoding = f"vLLM {format_bytes(costs.memory.server)}"
    yield "  evaluation", f"{format_bytes(costs.memory.evaluation)}, {decoding}"
    if costs.memory.in_cpu:
        yield "  in the CPU's memory", f"{format_bytes(costs.memory.in_cpu)} per worker"
    if costs.gpu_bytes is not None:
        yield "fits", _fit(costs)
        if costs.misfit is not None:
            yield "would fit", ways_text(costs.misfit)
    elif sweep.group.gpus_per_worker:
        yield "fits", "not known: which GPUs? name them with --gpu, or give --gpu-memory"
    if costs.gpu is not None and costs.trial_gpu_hours is not None:
        peak = costs.gpu.peak_flops / 1e12
        yield (
            "GPU hours",
            f"at most {_hours_text(plan, costs.trial_gpu_hours)}, assuming "
            f"{utilisation:.0%} of the {peak:.0f} TFLOP/s of {costs.gpu.name} (not measured; "
            "evaluations come on top)",
        )


def _tokens_text(plan: Plan, costs: Costs) -> str:
    if plan.fidelity is None or plan.search_costs is None:
        return f"at most {format_count(costs.num_tokens)}"
    searched = format_count(plan.search_costs.num_tokens)
    return f"at most {searched}; {format_count(costs.num_tokens)} in the confirmation"


def _hours_text(plan: Plan, full_hours: float) -> str:
    """Return the hours of a trial, of the search and of the confirmation."""
    searched = plan.search_costs
    per_trial = full_hours if searched is None else searched.trial_gpu_hours or full_hours
    text = f"{format_hours(per_trial)} for a trial's training"
    if plan.num_trials is not None:
        text += f", {format_hours(plan.num_trials * per_trial)} for all trials"
        if plan.fidelity is not None:
            text += f" (at full fidelity {format_hours(plan.num_trials * full_hours)})"
    if plan.num_confirmed is not None:
        hours = format_span(plan.num_confirmed, lambda number: format_hours(number * full_hours))
        text += f", {hours} for the confirmation"
    return text


def calibration_lines(sweep: SweepSpec, plan: Plan, measured: Calibration) -> Iterator[str]:
    """Yield what a timed minute means for a sweep whose trials all run to their end."""
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

    def taken(num_runs: int, num_steps: int, num_evaluations: int, start_s: float = 0.0) -> str:
        all_s = pace.all_seconds(
            num_steps, num_evaluations, num_trials=num_runs, num_groups=num_groups
        )
        seconds = format_seconds(start_s + all_s)
        hours = num_runs * pace.trial_seconds(num_steps, num_evaluations) * num_gpus / 3600
        return f"{seconds}, {format_hours(hours)} GPU hours" if num_gpus else seconds

    if plan.num_trials is not None:
        time = taken(plan.num_trials, num_steps, num_evaluations, pace.start_s)
        yield f"all {plan.num_trials} trials on {num_groups} groups, none stopped early: {time}"
    if plan.num_confirmed is not None and _searches_another_model(sweep):
        yield "the confirmation's runs: not measured, since they train another model"
    elif plan.num_confirmed is not None:
        # A run is evaluated at its end alone, there on the examples that decide.
        full_steps = plan.num_confirm_steps[1]
        runs = format_span(plan.num_confirmed, str)
        time = format_span(plan.num_confirmed, lambda number: taken(number, full_steps, 1))
        yield f"the confirmation's {runs} runs: {time}"


def _searches_another_model(sweep: SweepSpec) -> bool:
    fidelity = sweep.search.fidelity
    return fidelity is not None and fidelity.model_path is not None


def knob_lines(sweep: SweepSpec, plan: Plan, pace: Pace) -> Iterator[str]:
    """Yield what the time goes to, the most first, and the fields that make it less."""
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
    if _searches_another_model(sweep):
        return
    if plan.num_trials is not None and plan.num_confirmed is not None:
        search_s = plan.num_trials * trial_s
        run_s = pace.trial_seconds(plan.num_confirm_steps[1], 1)
        ends = [number * run_s for number in plan.num_confirmed]
        low, high = (f"{part / (part + search_s):.0%}" for part in ends)
        share_text = low if low == high else f"{low} to {high}"
        yield (
            f"{share_text} of the sweep is the confirmation: less with `confirm.rates`, "
            "`confirm.seeds`, `confirm.max_runs`, `confirm.gpu_hours`; the search's share with "
            "`search.num_trials`"
        )


PART_NAMES = {"update": "optimizer's update", "server": "vLLM", "server_at_rest": "vLLM at rest"}
"""Names of parts of the memory that users know by another one."""


def _parts(memory: Memory) -> str:
    there = ("weights", "gathered", "adapter", "gradients", "optimizer")
    parts = (*there, "activations", "logits", "reserve")
    sizes = {name: int(getattr(memory, name)) for name in parts}
    sizes[PART_NAMES["update"]] = memory.update
    sizes["vLLM at rest"] = memory.server_at_rest
    named = ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items() if size)
    return f"{format_bytes(memory.training)}: {named}"


def _fit(costs: Costs) -> str:
    assert costs.gpu_bytes is not None
    room = room_text(costs)
    if costs.misfit is None:
        return f"every setting, into {room}"
    memory = costs.misfit.memory
    part = memory.largest_part
    setting = format_params(costs.misfit.setting) or "every setting"
    return (
        f"NOT {setting}: needs {format_bytes(memory.peak)}, "
        f"{format_bytes(costs.misfit.missing_bytes)} more than {room}; its largest part is "
        f"{PART_NAMES.get(part, part)}, {format_bytes(getattr(memory, part))}"
    )
