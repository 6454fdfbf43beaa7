"""Modes of ``training.determinism``: equal bytes, or equal draws and data, twice in a row."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import load

from droplora_sweep.adapters.droplora.masks import draw_dropped, draw_kept_ranks
from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.training.loop import step_seed
from tests.gpu.case import Case
from tests.gpu.rows import Row, judged
from tests.gpu.setting import runner, trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.training.runner import TrialRunner
    from tests.gpu.setting import Setting

    Train = Callable[[TrialSpec], tuple[dict[str, bytes], float]]

CHECK: Final = "determinism"
NUM_STEPS: Final = 3
SAME: Final = 0.1
"""Most relative difference of two adapters of the same draws and data: AdamW's first steps have the
gradient's sign, which rounding turns round where it is near zero."""
OTHER: Final = 0.5
"""Least relative difference of adapters of other draws."""
LOSS: Final = 1e-3
"""Most relative difference of the mean loss of the steps in bfloat16."""


def cases(setting: Setting) -> Iterator[Case]:
    residents: list[TrialRunner] = []

    def train(spec: TrialSpec) -> tuple[dict[str, bytes], float]:
        if not residents:
            residents.append(runner(setting, spec.model))
        return trained(residents[0], spec)

    for mask in ("token", "step"):
        yield Case(f"strict, {mask} mask", partial(strict, setting, train, mask))
    yield Case("seeded", partial(seeded, setting, train))
    yield Case("draws", partial(draws, setting))


def trial(setting: Setting, *, mask: str, determinism: str, seed: int = 1) -> TrialSpec:
    size = setting.size.micro_batch
    spec = setting.trial(
        {"pruning_rate": 0.5, "mask": mask, "dropout": 0.05},
        num_train=NUM_STEPS * size,
        micro_batch=max(1, size // 2),
        global_batch=size,
        determinism=determinism,
    )
    return spec.model_copy(update={"seed": seed})


def strict(setting: Setting, train: Train, mask: str) -> Iterator[Row]:
    spec = trial(setting, mask=mask, determinism="strict")
    digests = [hashlib.sha256(train(spec)[0][WEIGHTS_FILE]).hexdigest()[:12] for _ in range(2)]
    yield judged(
        CHECK,
        f"strict, {mask} mask: other adapters of two",
        len(set(digests)) - 1,
        high=0,
        note=" and ".join(digests),
    )


def seeded(setting: Setting, train: Train) -> Iterator[Row]:
    spec = trial(setting, mask="token", determinism="seeded")
    (first, loss), (again, loss_again) = train(spec), train(spec)
    other, _ = train(trial(setting, mask="token", determinism="seeded", seed=2))
    yield judged(
        CHECK,
        "seeded: losses of two",
        abs(loss - loss_again) / loss,
        high=LOSS,
        note=f"{loss:.6f} and {loss_again:.6f}",
    )
    yield judged(CHECK, "seeded: adapters of two", difference(first, again), high=SAME)
    yield judged(CHECK, "seeded: adapters of two seeds", difference(first, other), low=OTHER)


def difference(some: Mapping[str, bytes], others: Mapping[str, bytes]) -> float:
    """Return how far two adapters' Bs are apart, relative to their size; A hardly moves."""
    left, right = (load(files[WEIGHTS_FILE]) for files in (some, others))
    names = [name for name in left if "lora_B" in name]
    apart = sum(float((left[name].float() - right[name].float()).square().sum()) for name in names)
    size = sum(float(left[name].float().square().sum()) for name in names)
    return math.sqrt(apart / size)


def draws(setting: Setting) -> Iterator[Row]:
    """The same step's masks twice, and another step's; those by step are drawn on the CPU."""
    device = setting.torch_device

    def drawn(step: int) -> torch.Tensor:
        torch.manual_seed(step_seed(1, step, 0))
        return draw_dropped(torch.Size((4, 256, 16)), 0.5, device)

    yield judged(
        CHECK, "draws of a step twice", float((drawn(3) != drawn(3)).float().mean()), high=0
    )
    yield judged(
        CHECK,
        "draws of two steps",
        float((drawn(3) != drawn(4)).float().mean()),
        low=0.45,
        high=0.55,
        note="share that differs",
    )
    yield judged(
        CHECK, "share that is dropped", float(drawn(5).float().mean()), low=0.47, high=0.53
    )
    kept = [draw_kept_ranks(1, "layers.0.q_proj", 3, 64, 0.5) for _ in range(2)]
    yield judged(CHECK, "ranks of a step twice", float(not torch.equal(*kept)), high=0)
