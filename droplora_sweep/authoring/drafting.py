"""The text of a first search space: every value that was chosen, with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.plan.advice.evidence import FAR_BELOW, shown_gap
from droplora_sweep.present.values import command_text

from .answer_kinds import AnswerKind
from .shipped import schema_line
from .yaml_writer import Value, comment, written

if TYPE_CHECKING:
    from pathlib import Path

    from .choices import Lengths, RateRange, Sizes, Steps
    from .effort import Effort
    from .own_data import OwnData
    from .yaml_writer import Section

NUM_STARTUP_TRIALS: Final = 8
"""The default of ``search.num_startup_trials``."""
MIN_STEPS_TO_STOP: Final = 40
"""Fewer steps are over before an early look at a trial says anything."""
MAX_CPU_GROUPS: Final = 4
"""Trials at once on CPU: of more at a time, fewer would be chosen by what the others showed."""
FEW_TRIALS: Final = 16
"""Fewer are spread over three rates instead of six."""
EVALUATION_BATCH: Final = 32
"""The default of ``evaluation.batch_size``."""


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Devices that a user has.

    Attributes:
        num_gpus: GPUs; 0 trains on CPU.
        gpu: Kind of GPU; None on CPU.
        num_cpus: CPU cores.
        hours: Hours that they may be used.
    """

    num_gpus: int
    gpu: str | None
    num_cpus: int
    hours: float

    @property
    def number(self) -> int:
        """GPUs, or CPU cores that train."""
        return self.num_gpus or self.num_groups * self.cpus_per_group

    @property
    def num_groups(self) -> int:
        """Groups of one worker each, which train side by side: one per GPU, or some on CPU."""
        return self.num_gpus or min(MAX_CPU_GROUPS, self.num_cpus)

    @property
    def cpus_per_group(self) -> int:
        """CPU cores of a group that trains on CPU."""
        return self.num_cpus // self.num_groups

    def __str__(self) -> str:
        """``4 GPUs (A100-80G)``."""
        if self.num_gpus:
            return f"{self.num_gpus} GPU{'s' * (self.num_gpus != 1)} ({self.gpu})"
        return f"{self.num_cpus} CPU core{'s' * (self.num_cpus != 1)}"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """All that a first search space is made of.

    Attributes:
        name: The sweep's.
        model: ``model.path``.
        revision: ``model.revision``.
        model_text: The model in words.
        data: The data.
        devices: Where it runs.
        sizes: Examples that are scored.
        steps: Length of a trial.
        lengths: Tokens of the examples.
        rates: Learning rates.
        ranks: Ranks.
        effort: Trials and runs.
        micro_batch_size: Sequences of a forward pass.
        evaluation_batch_size: Prompts that are answered at once.
        gradient_checkpointing: Activations are computed again to save memory.
    """

    name: str
    model: str
    revision: str | None
    model_text: str
    data: OwnData
    devices: Devices
    sizes: Sizes
    steps: Steps
    lengths: Lengths
    rates: RateRange
    ranks: tuple[int, ...]
    effort: Effort
    micro_batch_size: int
    evaluation_batch_size: int = EVALUATION_BATCH
    gradient_checkpointing: bool = False


def draft_text(draft: Draft, file: Path) -> str:
    """Return the file's text.

    Args:
        draft: What is in it.
        file: Its name, for the commands in its head.
    """
    question = (
        f"Which pruning rate, rank and alpha should DropLoRA use for {draft.model} on "
        f"{', '.join(draft.data.benchmarks)}?"
    )
    how = (
        f"Written by `droplora-sweep init` for {draft.devices} and {_hours(draft.devices.hours)}. "
        "Change whatever you know better; `validate` names every fault."
    )
    commands = [f"#   {command_text(command, str(file))}" for command in ("plan", "run")]
    head = [schema_line(), *comment(question), *comment(how), "#", *commands]
    seen = [line for text in draft.data.seen for line in comment(f"Data: {text}.")]
    sections: Section = {
        "name": Value(draft.name, "names the sweep in storage and in MLflow"),
        "model": _model(draft),
        "task": _task(draft),
        "adapter": {
            "method": Value("droplora", "LoRA whose rank dimensions are dropped in training"),
        },
        "training": _training(draft),
        "evaluation": _evaluation(draft),
        "search": _search(draft),
        "confirm": _confirm(draft),
        "group": _group(draft.devices),
    }
    return "\n".join([*head, "#", *seen, "", written(sections)])


def _model(draft: Draft) -> Section:
    on_gpu = draft.devices.num_gpus > 0
    why = "half the memory; GPUs are fast at it" if on_gpu else "few CPUs are fast at bfloat16"
    revision = {} if draft.revision is None else {"revision": Value(draft.revision)}
    return {
        "path": Value(draft.model, draft.model_text),
        **revision,
        "dtype": Value("bfloat16" if on_gpu else "float32", why),
    }


def _task(draft: Draft) -> Section:
    task: dict[str, Value | Section] = {}
    for key, content in draft.data.task.items():
        if key == "benchmarks" and isinstance(content, dict):
            task[key] = {
                name: {field: Value(one) for field, one in spec.items()}
                for name, spec in content.items()
            }
        else:
            task[key] = Value(content, _TASK_REASONS.get(key, ""))
    sizes = draft.sizes
    shorter = draft.effort.shorter
    if shorter is not None and shorter.num_train is not None:
        why = "of each benchmark; more do not fit into the hours"
        task["num_train"] = Value(shorter.num_train, why)
    task["num_validation"] = Value(sizes.num_validation, "to compare the search's trials")
    if sizes.num_confirmation is not None:
        why = "new ones to decide on: neither trained on nor searched with"
        task["num_confirmation"] = Value(sizes.num_confirmation, why)
    return task


_TASK_REASONS: Final = {
    "prompt": "the chat template of the model's tokenizer",
    "num_train": "of each benchmark",
    "on_bad_record": "some records cannot be used: they are left out, and counted",
}


def _training(draft: Draft) -> Section:
    steps, lengths = draft.steps, draft.lengths
    longer = f"; {lengths.num_left_out} of {lengths.num_seen} examples are longer, and left out"
    content: dict[str, Value | Section] = {
        "epochs": Value(steps.epochs, f"{steps.num_steps} optimiser steps in all"),
        "global_batch_size": Value(steps.global_batch_size, "by the number of examples"),
        "micro_batch_size": Value(draft.micro_batch_size, "per forward pass; for memory alone"),
        "max_sequence_tokens": Value(
            lengths.max_sequence_tokens,
            f"prompt and response{longer if lengths.num_left_out else ' of every example'}",
        ),
    }
    if draft.gradient_checkpointing:
        why = "saves memory, which would not do without, for a third more time"
        content["gradient_checkpointing"] = Value(content=True, why=why)
    return content


def _evaluation(draft: Draft) -> Section:
    kinds = set(draft.data.kinds.values())
    content: dict[str, Value | Section] = {}
    if draft.steps.num_steps >= MIN_STEPS_TO_STOP:
        content["num_evaluations"] = Value(2, "a poor trial can be stopped at the first")
    else:
        content["num_evaluations"] = Value(1, "at the end of a short trial")
    if kinds == {AnswerKind.CHOICE}:
        why = "picks the likeliest option, without decoding: faster, and never unreadable"
        content["choice"] = Value("score", why)
    why = "enough for the longest response that was seen"
    content["max_new_tokens"] = Value(draft.lengths.max_new_tokens, why)
    if draft.evaluation_batch_size != EVALUATION_BATCH:
        content["batch_size"] = Value(draft.evaluation_batch_size, "as many as fit into memory")
    if AnswerKind.TEXT in kinds:
        why = "how likely the right texts are, which free text can be searched by"
        content["likelihood"] = Value(content=True, why=why)
    return content


def _search(draft: Draft) -> Section:
    effort, devices = draft.effort, draft.devices
    hours = effort.hours
    planned = "the time of a trial is not known before `plan --calibrate`"
    if hours is not None:
        unit = "GPU" if devices.num_gpus else "core"
        planned = f"all runs of this file train for {hours:.2g} {unit} hours at most, as planned"
    share = effort.num_trials / effort.num_runs
    content: dict[str, Value | Section] = {
        "num_trials": Value(effort.num_trials, planned),
        "budget": {
            "wall_clock_hours": Value(
                _two_digits(share * devices.hours), "no trial starts later, whatever was planned"
            )
        },
    }
    if effort.num_trials <= NUM_STARTUP_TRIALS:
        why = "to begin with, spread over the rates; the others go where the rate is still open"
        content["num_startup_trials"] = Value(3 * effort.num_trials // 4, why)
    if AnswerKind.TEXT in draft.data.kinds.values():
        content["metric"] = Value("bits_per_byte/val/mean", "of the right texts; less is better")
    if draft.steps.num_steps >= MIN_STEPS_TO_STOP:
        why = "at each evaluation, the better half so far goes on"
        content["stopping"] = Value({"kind": "asha", "reduction_factor": 2}, why)
    else:
        content["stopping"] = Value("none", "trials are short: each runs to its end")
    scale = "the update is scaled by alpha / rank, here by 1 or 2"
    content["parameters"] = {
        "adapter.rank": Value({"values": list(draft.ranks)}, "by the width of the model"),
        "adapter.alpha": Value({"values": [1, 2], "ratio_of": "adapter.rank"}, scale),
        "adapter.pruning_rate": Value(
            {"min": 0.0, "max": 0.5, "step": 0.1 if effort.num_trials >= FEW_TRIALS else 0.25},
            "0 is plain LoRA; the paper goes up to 0.5",
        ),
        "training.learning_rate": Value(
            {"min": draft.rates.low, "max": draft.rates.high, "scale": "log"}, draft.rates.why
        ),
    }
    return content


def _confirm(draft: Draft) -> Section:
    effort, sizes, devices = draft.effort, draft.sizes, draft.devices
    number = sizes.num_confirmation or sizes.num_validation
    margin = max(0.01, math.ceil(100 * shown_gap(number) / FAR_BELOW) / 100)
    share = effort.max_runs / effort.num_runs
    content: dict[str, Value | Section] = {
        "rates": Value(effort.rates, "so many of the best rates, and p = 0"),
        "seeds": Value(effort.seeds, "new ones, the same for every rate"),
        "max_runs": Value(effort.max_runs, "in all"),
        "controls": Value(
            content=True,
            why="a gain must be one over the same setting without pruning too: no luck in tuning",
        ),
        "gpu_hours": Value(
            _two_digits(share * devices.hours * devices.number),
            f"no run starts later; {'GPU' if devices.num_gpus else 'core'} hours",
        ),
        "margin": Value(margin, f"a gain of less than {100 * margin:.0f} points does not matter"),
    }
    if sizes.num_confirmation is None:
        why = "too few examples to hold more back: those that compared the trials decide"
        content["examples"] = Value("validation", why)
    return content


def _group(devices: Devices) -> Section:
    if devices.num_gpus:
        return {
            "num_workers": Value(1, "one GPU trains a trial, and trials run side by side"),
            "gpus_per_worker": Value(1),
            "max_groups": Value(devices.num_gpus, "as many as you have GPUs"),
        }
    return {
        "num_workers": Value(1, "one process trains a trial, and trials run side by side"),
        "cpus_per_worker": Value(devices.cpus_per_group),
        "max_groups": Value(devices.num_groups),
    }


def _hours(number: float) -> str:
    return "1 hour" if number == 1 else f"{number:g} hours"


def _two_digits(number: float) -> float:
    """Return a number to two digits, rounded down.

    >>> _two_digits(5.567), _two_digits(0.0399)
    (5.5, 0.039)
    """
    decade: Any = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{math.floor(number / decade) * decade:.2g}")
