"""Memory of a training step of each method, against the plan's count of it.

The plan is an upper bound: a sweep that was let through by it must not run out of memory, so that
no more may be allocated than it counts without its reserve (``MOST`` leaves room for what is too
small to be counted; the reserve is for what torch's allocator does not hold). A plan that is far
above what is used refuses settings that fit: at least ``LEAST`` of it must be in use, with every
sequence as long as the plan takes it to be.

On a CPU the tensors that are alive at once are counted, and judged by the same bounds.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch

from droplora_sweep.plan.costs.memory import training_memory
from droplora_sweep.spec.methods import METHODS
from droplora_sweep.spec.trial import ZeroSpec
from droplora_sweep.training.device import peak_memory_bytes
from tests.gpu.allocated import Allocated
from tests.gpu.case import Case
from tests.gpu.rows import Row, judged, skipped
from tests.gpu.setting import last_metrics, runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.plan.costs.memory import Memory
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.training.runner import TrialRunner
    from tests.gpu.setting import Setting

CHECK: Final = "memory"
LEAST: Final = 0.8
"""Least share of the plan's count: activations are counted within 5 % of autograd's, and the rest
are upper bounds of what is not all there at once."""

LEAST_CHECKPOINTED: Final = 0.7
"""Likewise where the layer that is computed again and the logits are not there at once."""

MOST: Final = 1.02
"""Greatest share: inputs, positions and cuBLAS's workspace come out of the plan's reserve."""

NUM_DECOMPOSED_LAYERS: Final = 2
"""Layers that get an adapter which is computed from their weights: each takes seconds."""
NUM_STEPS: Final = 2
"""The first has all of an optimiser's state before it ends, the second from its start."""

MORE: Final[Mapping[str, Mapping[str, Any]]] = {
    "dropout": {"dropout": 0.05},
    "token mask": {"pruning_rate": 0.5},
    "step mask": {"pruning_rate": 0.5, "mask": "step"},
    "learned mask": {"pruning_rate": 0.5, "mask": "learned"},
}
"""Adapters beside one of each method."""


def adapters(setting: Setting) -> dict[str, dict[str, Any]]:
    """Return the fields of `AdapterSpec` of each case by name."""
    last = int(setting.size.config["num_hidden_layers"]) - 1
    found: dict[str, dict[str, Any]] = {}
    for name, method in METHODS.items():
        if method.same_as is None or method.same_as == name:
            found[name] = {"method": name}
        if method.starts_from_base:
            found[name]["layers"] = f"{last - NUM_DECOMPOSED_LAYERS + 1}-{last}"
    return found | {name: dict(fields) for name, fields in MORE.items()}


def cases(setting: Setting) -> Iterator[Case]:
    residents = Residents(setting)
    for name, fields in adapters(setting).items():
        yield Case(name, partial(of_trial, setting, residents, name, fields))
    checkpointed = {"gradient_checkpointing": True}
    yield Case(
        "checkpointed", partial(of_trial, setting, residents, "checkpointed", {}, **checkpointed)
    )
    offloaded = {"zero": ZeroSpec(offload="cpu")}
    yield Case("offloaded", partial(of_trial, setting, residents, "offloaded", {}, **offloaded))


class Residents:
    """Runner that is made by the first case that needs it."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._resident: TrialRunner | None = None

    def of(self, spec: TrialSpec) -> TrialRunner:
        if self._resident is None:
            self._resident = runner(self._setting, spec.model, spec.training.zero)
        self._resident.serve(spec.model, spec.training.zero)
        return self._resident


def planned(setting: Setting, spec: TrialSpec) -> Memory:
    """Return the plan's count for one worker on this kind of device."""
    dimensions = setting.summary.dimensions
    assert dimensions is not None, "it is a Llama"
    return training_memory(
        setting.summary.shapes, dimensions, spec, num_workers=1, on_gpu=setting.device == "cuda"
    )


def fitting(
    setting: Setting, fields: Mapping[str, Any], available: float, **training: Any
) -> TrialSpec | None:
    """Return the trial of the largest micro-batch that the plan lets in; None where none fits."""
    size = setting.size.micro_batch
    while size:
        num_train = max(size * NUM_STEPS, METHODS[fields.get("method", "lora")].min_steps * size)
        spec = setting.trial(
            fields, num_train=num_train, micro_batch=size, global_batch=size, **training
        )
        if planned(setting, spec).peak <= available:
            return spec
        size //= 2
    return None


def available_bytes(device: str) -> float:
    """Return the free memory of the GPU; on a CPU everything fits."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else float("inf")


def of_trial(
    setting: Setting, residents: Residents, case: str, fields: Mapping[str, Any], **training: Any
) -> Iterator[Row]:
    """Run a trial's first steps, and compare the most that was allocated in them with the plan."""
    available = available_bytes(setting.device) + torch.cuda.memory_reserved()
    spec = fitting(setting, fields, available, **training)
    if spec is None:
        reason = f"one sequence at once is planned above the {available / 1e9:.1f} GB that are free"
        yield skipped(CHECK, case, reason)
        return
    starts_from_base = METHODS[spec.adapter.method].starts_from_base
    if setting.device == "cpu" and (starts_from_base or spec.training.zero.offload == "cpu"):
        last_metrics(residents.of(spec), spec)
        yield skipped(CHECK, case, "a CPU's own memory has what a GPU leaves to it")
        return
    used = most_used(setting, residents.of(spec), spec)
    yield row(case, used, planned(setting, spec), spec)


def most_used(setting: Setting, resident: TrialRunner, spec: TrialSpec) -> int:
    """Return the most bytes that were there at once until the last step was over."""
    peaks: list[int] = []
    counter = Allocated(resident._base.parameters() if setting.device == "cpu" else ())

    def on_step(_step: int, _num_steps: int) -> None:
        is_gpu = setting.device == "cuda"
        peaks.append(peak_memory_bytes(setting.torch_device) if is_gpu else counter.peak)

    with contextlib.nullcontext() if setting.device == "cuda" else counter:
        last_metrics(resident, spec, on_step)
    assert peaks, "it has taken a step"
    return peaks[-1]


def row(case: str, used: int, plan: Memory, spec: TrialSpec) -> Row:
    """Judge what was used against the plan."""
    counted, sequences = plan.training - plan.reserve, spec.training.sequences_at_once
    note = f"{used / 1e9:.3g} of {counted / 1e9:.3g} GB with {sequences} sequences at once"
    low = LEAST_CHECKPOINTED if spec.training.gradient_checkpointing else LEAST
    return judged(CHECK, case, used / counted, "of the plan", low=low, high=MOST, note=note)
