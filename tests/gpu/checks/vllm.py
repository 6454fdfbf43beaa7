"""vLLM beside the model that is trained: its answers, and what it leaves of the device."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import torch

from droplora_sweep.evaluation.serving.environment import environment_problem
from droplora_sweep.plan.costs.serving import ASLEEP_BYTES
from droplora_sweep.spec.metric_names import VLLM_AGREEMENT, VLLM_SHARE
from tests.gpu.case import Case
from tests.gpu.rows import Row, judged, on_gpu_alone, skipped
from tests.gpu.setting import builtin_trial, last_metrics, runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gpu.setting import Setting

CHECK: Final = "vllm"
AGREEMENT: Final = 0.95
"""Least share of tokens that both decode, in float32."""


def cases(setting: Setting) -> Iterator[Case]:
    yield Case("answers", partial(answers, setting))


def answers(setting: Setting) -> Iterator[Row]:
    """Two trials, so that the second trains after the server was awake."""
    if (problem := environment_problem()) is not None:
        yield skipped(CHECK, "answers", problem)
        return
    device = setting.torch_device
    before = used_by_others(device)
    asleep = []

    def on_step(_step: int, _num_steps: int) -> None:
        asleep.append(used_by_others(device) - before)

    spec = builtin_trial(evaluation={"backend": "vllm"})
    resident = runner(setting, spec.model)
    for seed in (1, 2):
        asleep.clear()
        metrics = last_metrics(resident, spec.model_copy(update={"seed": seed}), on_step)
        for name, low in ((VLLM_SHARE, 1.0), (VLLM_AGREEMENT, AGREEMENT)):
            yield judged(CHECK, f"{name}, trial {seed}", metrics[name], low=low)
    used = max(asleep)
    found = judged(
        CHECK, "memory at rest", used / 1e9, "GB", high=ASLEEP_BYTES / 1e9, note="the plan's bound"
    )
    yield on_gpu_alone(found, setting.device, "memory of other processes is seen")


def used_by_others(device: torch.device) -> int:
    """Return the bytes of the device that this process's allocator does not hold."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device)
