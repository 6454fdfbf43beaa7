"""Seconds of a training step against their roofline, and what makes the host wait within it.

The floor is low on purpose: kernels that read and write activations one by one, and Python between
them, leave a plain transformers model at about half of its roofline. What falls below a fifth
computes in another precision, on another device, or waits.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from droplora_sweep.adapters.sizes import num_trainable_parameters
from droplora_sweep.plan.costs.memory import activation_bytes, logit_bytes, weight_bytes
from droplora_sweep.plan.costs.work import flops_per_token
from tests.gpu.case import Case
from tests.gpu.roofline import Launches, Paces, bound_s, measured_paces, wait
from tests.gpu.rows import Row, judged, on_gpu_alone
from tests.gpu.setting import last_metrics, runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.training.runner import TrialRunner
    from tests.gpu.setting import Setting

CHECK: Final = "step"
FLOOR: Final = 0.2
"""Least share of its roofline that a step reaches."""
NUM_STEPS: Final = 6
NUM_WARMUP: Final = 2
ADAM_BYTES: Final = 28
"""Bytes per trained number of a step of AdamW in fp32: gradient read, master copy and two moments
read and written."""

MOST_WAITS: Final = 16
"""Most times that the host waits for the device in a step of one micro-batch. On CPUs 7 reads are
counted: the loss, the gradient's norm, what DeepSpeed looks at of it, and what a micro-batch has;
a GPU's copies come on top. One wait in each layer would be more than all of them."""

MOST_OF_A_MICRO_BATCH: Final = 3
"""Likewise in each micro-batch more: a look of transformers' at its positions (one read on CPUs),
and the copies of its tokens and labels."""

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "lora": {},
    "token mask": {"pruning_rate": 0.5},
    "step mask": {"pruning_rate": 0.5, "mask": "step"},
    "dora": {"method": "dora"},
}


def cases(setting: Setting) -> Iterator[Case]:
    paces: list[Paces] = []
    residents: list[TrialRunner] = []

    def resident() -> TrialRunner:
        if not residents:
            residents.append(runner(setting, setting.trial().model))
        return residents[0]

    def of_kind(name: str, fields: Mapping[str, Any]) -> Iterator[Row]:
        if not paces:
            paces.append(measured_paces(setting))
        yield from seconds(setting, resident(), paces[0], name, fields)

    for name, fields in KINDS.items():
        yield Case(name, partial(of_kind, name, fields))
    yield Case("waits", lambda: waits(setting, resident()))


def step_trial(setting: Setting, fields: Mapping[str, Any], num_steps: int) -> TrialSpec:
    size = setting.size.micro_batch
    return setting.trial(fields, num_train=size * num_steps, micro_batch=size, global_batch=size)


def work_of_step(setting: Setting, spec: TrialSpec) -> tuple[float, float]:
    """Return operations and bytes of a step of one micro-batch of full length.

    Weights are read forward and backward, what autograd keeps and logits are written and read, and
    the optimiser reads and writes its state.
    """
    shapes, dimensions = setting.summary.shapes, setting.summary.dimensions
    assert dimensions is not None, "it is a Llama"
    length = spec.training.max_sequence_tokens
    num_tokens = spec.training.sequences_at_once * length
    flops = num_tokens * flops_per_token(shapes, dimensions, spec, length)
    kept = activation_bytes(dimensions, spec) + logit_bytes(dimensions, spec)
    weights = weight_bytes(shapes, spec.model.dtype)
    state = ADAM_BYTES * num_trainable_parameters(shapes, spec.adapter)
    return flops, 2 * weights + 2 * kept + state


def seconds(
    setting: Setting, resident: TrialRunner, paces: Paces, name: str, fields: Mapping[str, Any]
) -> Iterator[Row]:
    spec = step_trial(setting, fields, NUM_STEPS)
    device, times, counter = setting.torch_device, [], Launches()

    def on_begin(_done: int, _num_steps: int) -> None:
        # The operations of the first step are counted, which takes time; it is not timed.
        counter.__enter__()

    def on_step(step: int, _num_steps: int) -> None:
        if step == 1:
            counter.__exit__(None, None, None)
        wait(device)
        times.append(time.perf_counter())

    last_metrics(resident, spec, on_step, on_begin=on_begin)
    taken = median(after - before for before, after in list(pairwise(times))[NUM_WARMUP - 1 :])
    flops, num_bytes = work_of_step(setting, spec)
    bound = bound_s(paces, flops=flops, num_bytes=num_bytes, num_launches=counter.count)
    num_tokens = spec.training.sequences_at_once * spec.training.max_sequence_tokens
    note = (
        f"{taken * 1e3:.1f} ms, bound {bound * 1e3:.1f}; {num_tokens / taken:,.0f} tokens/s, "
        f"{flops / taken / 1e12:.1f} TFLOP/s, {counter.count} operations"
    )
    found = judged(CHECK, name, bound / taken, "of the roofline", low=FLOOR, note=note)
    yield on_gpu_alone(found, setting.device, "a roofline is judged")


class Reads(TorchDispatchMode):
    """Counts the reads of a number on the device, by operation, as on a CPU they can be counted."""

    OPERATIONS: Final = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.is_nonzero.default,
        torch.ops.aten.nonzero.default,
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self.OPERATIONS:
            self.found[func.name()] += 1
        return func(*args, **(kwargs or {}))


class Waits:
    """Counts what makes the host wait: by torch's own warnings on a GPU, by reads on a CPU."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._reads = Reads()
        self._caught = warnings.catch_warnings(record=True)
        self._said: list[warnings.WarningMessage] | None = None

    def begin(self) -> None:
        if self._device != "cuda":
            self._reads.__enter__()
            return
        self._said = self._caught.__enter__()
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

    def end(self) -> Counter[str]:
        """Return how often each place made it wait."""
        if self._device != "cuda":
            self._reads.__exit__(None, None, None)
            return self._reads.found
        torch.cuda.set_sync_debug_mode("default")
        said = [one for one in self._said or () if "synchroniz" in str(one.message)]
        self._caught.__exit__(None, None, None)
        return Counter(f"{Path(one.filename).name}:{one.lineno}" for one in said)


def waits(setting: Setting, resident: TrialRunner) -> Iterator[Row]:
    """Count what makes the host wait in the second step, and in each micro-batch more.

    Steps of one and of two micro-batches differ by what a micro-batch needs.
    """
    totals = []
    for number in (1, 2):
        size = setting.size.micro_batch
        spec = setting.trial(
            {"pruning_rate": 0.5},
            num_train=size * number * 2,
            micro_batch=size,
            global_batch=size * number,
        )
        counter, found = Waits(setting.device), Counter()

        def on_step(step: int, _num_steps: int, counter=counter, found=found) -> None:
            if step == 1:
                counter.begin()
            else:
                found.update(counter.end())

        last_metrics(resident, spec, on_step)
        totals.append(found)
    places = ", ".join(f"{place} {count}" for place, count in totals[0].most_common(6))
    yield judged(
        CHECK, "waits of a step", totals[0].total(), high=MOST_WAITS, note=places or "none"
    )
    more = totals[1] - totals[0]
    places = ", ".join(f"{place} {count}" for place, count in more.most_common(6))
    yield judged(
        CHECK,
        "waits of a micro-batch more",
        more.total(),
        high=MOST_OF_A_MICRO_BATCH,
        note=places or "none",
    )
