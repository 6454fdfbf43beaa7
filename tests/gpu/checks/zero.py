"""A base model that is split, and an optimiser in the CPU's memory, on one device.

The numbers are those of stage 2: the operations are the same, but for where AdamW adds up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from droplora_sweep.spec.trial import ZeroSpec
from tests.gpu.case import Case
from tests.gpu.checks.determinism import difference
from tests.gpu.rows import Row, judged
from tests.gpu.setting import builtin_trial, runner, trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.trial import TrialSpec
    from tests.gpu.setting import Setting

CHECK: Final = "zero"
LOSS: Final = 1e-4
"""Most relative difference of the mean loss of the steps, in float32."""
ADAPTER: Final = 0.01
"""Most relative difference of the adapters: AdamW's first steps have the gradient's sign, which
rounding turns round where it is as good as zero."""

WAYS: Final = {
    "optimiser on the CPU": ZeroSpec(offload="cpu"),
    "stage 3": ZeroSpec(stage=3),
    "stage 3, both on the CPU": ZeroSpec(stage=3, offload="cpu"),
}


def cases(setting: Setting) -> Iterator[Case]:
    for name, zero in WAYS.items():
        yield Case(name, partial(against_stage_2, setting, name, zero))


def trial(zero: ZeroSpec) -> TrialSpec:
    return builtin_trial(mask="step", training={"zero": zero})


def against_stage_2(setting: Setting, name: str, zero: ZeroSpec) -> Iterator[Row]:
    plain, other = trial(ZeroSpec()), trial(zero)
    resident = runner(setting, plain.model)
    files, loss = trained(resident, plain)
    resident.serve(other.model, zero)
    found, its_loss = trained(resident, other)
    yield judged(
        CHECK,
        f"{name}: loss",
        abs(loss - its_loss) / loss,
        high=LOSS,
        note=f"{its_loss:.6f}, of stage 2 {loss:.6f}",
    )
    yield judged(CHECK, f"{name}: adapter", difference(files, found), high=ADAPTER)
