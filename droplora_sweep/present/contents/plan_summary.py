"""A plan at a glance: what will be run, what it costs, and what does not fit."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from droplora_sweep.present.misfit import room_text, ways_text
from droplora_sweep.present.values import (
    format_bytes,
    format_count,
    format_hours,
    format_params,
    format_span,
    plural,
)
from droplora_sweep.spec import possible_values
from droplora_sweep.spec.rules.composition import METHOD

from .table import table_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.plan.plan import Plan
    from droplora_sweep.plan.survey import Survey
    from droplora_sweep.spec import SweepSpec

    from .table import Table


def summary_lines(found: Survey, plan: Plan, utilisation: float) -> tuple[str, ...]:
    """Return a plan in a few lines, at this assumed share of a GPU's peak."""
    sweep = found.sweep
    methods = ", ".join(dict.fromkeys(str(name) for _, name in possible_values(METHOD, sweep)))
    benchmarks = ", ".join(sweep.task.benchmarks)
    lines = [
        f"{sweep.name}: {methods} on {benchmarks}, over {sweep.model.path}",
        f"  runs   {'; then '.join(_runs(sweep, plan))}",
        f"  costs  {'; '.join(_costs(plan, utilisation))}",
        f"  fits   {_fits(sweep, plan)}",
    ]
    number = len(plan.notes) + len(plan.advice) + len(plan.unchecked)
    if number:
        lines.append(f"  also   {plural(number, 'remark')} at the end of the table")
    return tuple(lines)


def plan_json(table: Table, plan: Plan) -> dict[str, Any]:
    """Return a plan for other programs; null where a number is not known."""
    costs = plan.costs
    confirmed = None if plan.num_confirmed is None else list(plan.num_confirmed)
    return {
        "num_trials": plan.num_trials,
        "num_confirmation_runs": confirmed,
        "num_groups": plan.num_groups,
        "num_steps": list(plan.num_steps),
        "splits": plan.splits,
        "gpu_hours": None if plan.gpu_hours is None else asdict(plan.gpu_hours),
        "peak_memory_bytes": None if costs is None else costs.memory.peak,
        "fits": None if costs is None or costs.gpu_bytes is None else costs.misfit is None,
        "notes": list(plan.notes),
        "advice": list(plan.advice),
        "unchecked": list(plan.unchecked),
        "table": table_json(table),
    }


def _runs(sweep: SweepSpec, plan: Plan) -> Iterator[str]:
    trials = "trials until the budget is spent"
    if plan.num_trials is not None:
        trials = plural(plan.num_trials, "trial")
    searched = ", ".join(path.rpartition(".")[2] for path in sweep.search.parameters)
    steps = format_span(plan.num_steps, str)
    side = "" if plan.num_groups is None else f", {plan.num_groups} side by side"
    over = f" over {searched}" if searched else ""
    yield f"{trials} of at most {steps} steps{over}{side}"
    if plan.num_confirmed is not None:
        yield f"{format_span(plan.num_confirmed, str)} confirmation runs, which decide"


def _costs(plan: Plan, utilisation: float) -> Iterator[str]:
    hours = plan.gpu_hours
    if hours is not None:
        assumed = f"assuming {utilisation:.0%} of the GPU's peak"
        total = format_hours(hours.total)
        yield f"at most {total} GPU hours of training ({assumed}; evaluations on top)"
    else:
        yield "hours not known before `plan --calibrate`, which measures them in a few minutes"
    if plan.costs is not None:
        yield f"{format_count(plan.costs.num_tokens)} tokens a trial at most"
    if plan.saved is not None:
        yield f"{format_bytes(plan.saved.disk_bytes)} of disk at most"


def _fits(sweep: SweepSpec, plan: Plan) -> str:
    costs = plan.costs
    if costs is None:
        return "not known: only models with Llama's layers are counted"
    place = "GPU" if sweep.group.gpus_per_worker == 1 else "worker"
    needed = f"{format_bytes(costs.memory.peak)} of memory per {place}"
    if costs.gpu_bytes is None:
        unknown = "; which GPUs? name them with --gpu" if sweep.group.gpus_per_worker else ""
        return f"needs up to {needed}{unknown}"
    room = room_text(costs)
    if costs.misfit is None:
        return f"every setting into {room}: needs up to {needed}"
    setting = format_params(costs.misfit.setting) or "every setting"
    lacks = f"NOT {setting}: it lacks {format_bytes(costs.misfit.missing_bytes)} in {room}"
    return f"{lacks}; would fit {ways_text(costs.misfit)}"
