"""First trials: the paper's setting, brought into the search space, and the same without pruning.

Values are *raw*, as in `space`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adapter import paper_alpha
from .fields import get_field, mapping_of
from .methods import names_of
from .search import RATE
from .space import active_order, field_value, is_active, resolve, variants
from .trial import WARMUP_RATIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .base import Scalar
    from .sweep import SweepSpec

PAPER: Mapping[str, Scalar] = {
    "adapter.method": "droplora",
    "adapter.rank": 32,
    "adapter.alpha": 64,
    "adapter.pruning_rate": 0.5,
    "adapter.mask": "token",
    "adapter.rescale": True,
    "adapter.dropout": 0.05,
    "training.learning_rate": 3e-4,
    "training.epochs": 3,
    "training.global_batch_size": 128,
    "training.warmup_ratio": WARMUP_RATIO,
    "training.warmup_steps": 100,
    "training.weight_decay": 0.1,
    "seed": 42,
}
"""DropLoRA's setting in arXiv 2508.17337: Table 7 (commonsense); the pruning rate is Table 5's.

Table 7 gives pruning rates from 0.1 to 0.5; Table 5's best run names one: rank 32 with 0.5. Mask,
rescaling, weight decay and seed are the released code's.
"""

METHOD = "adapter.method"
COMMON: Mapping[str, str] = {
    "adapter.module_pruning_rates": RATE,
    "adapter.module_ranks": "adapter.rank",
    "adapter.module_alphas": "adapter.alpha",
}
"""The field that every layer has which no entry of a mapping names."""


def baselines(sweep: SweepSpec) -> tuple[dict[str, Scalar], ...]:
    """Raw values of the trials to run first: the paper's setting, and the same without pruning.

    Every value of ``PAPER`` is brought to the nearest member of its domain, and so is the trial's
    default of a parameter the paper does not name; a module's own pruning rate, rank and alpha are
    those of all. Alpha follows the rank that was found, as in Table 7. The second has pruning rate
    0, or method ``lora`` where the domain of the pruning rate has no 0; it is left out where
    neither is searched, or where it equals the first.

    Of a comparison each variant has its own: the paper's setting with the variant's values, where
    nothing but DropLoRA is pruned.
    """
    if sweep.search.compare:
        return tuple(_variant_baseline(variant, sweep) for variant in variants(sweep))
    paper = _nearest_setting(PAPER, sweep)
    unpruned = _nearest_setting({**PAPER, RATE: 0.0}, sweep)
    if _is_pruned(unpruned, sweep):
        plain = {**PAPER, "adapter.method": "lora", RATE: 0.0}
        unpruned = _nearest_setting(plain, sweep)
    is_control = not _is_pruned(unpruned, sweep)
    return (paper, unpruned) if is_control and unpruned != paper else (paper,)


def _variant_baseline(variant: Mapping[str, Scalar], sweep: SweepSpec) -> dict[str, Scalar]:
    method = field_value(METHOD, variant, sweep)
    rate = PAPER[RATE] if method == PAPER[METHOD] else 0.0
    return _nearest_setting({**PAPER, METHOD: method or "", RATE: rate, **variant}, sweep)


def _is_pruned(values: Mapping[str, Scalar], sweep: SweepSpec) -> bool:
    return resolve(values, sweep).adapter.is_pruned


def _nearest_setting(setting: Mapping[str, Scalar], sweep: SweepSpec) -> dict[str, Scalar]:
    """Two passes, since alpha follows the method and the rank that the first one found."""
    values = _nearest_values(setting, sweep)
    rank = field_value("adapter.rank", values, sweep)
    assert isinstance(rank, int)
    alpha = paper_alpha(str(field_value(METHOD, values, sweep)), rank)
    return _nearest_values({**setting, "adapter.alpha": alpha}, sweep)


def _nearest_values(setting: Mapping[str, Scalar], sweep: SweepSpec) -> dict[str, Scalar]:
    values: dict[str, Scalar] = {}
    for path in active_order(sweep):
        if not is_active(path, values, sweep):
            continue
        parameter = sweep.search.parameters[path]
        target = _target(path, setting, sweep)
        if parameter.ratio_of is not None and isinstance(target, int | float):
            base = field_value(parameter.ratio_of, values, sweep)
            target = target / base if isinstance(base, int | float) and base else target
        if path == METHOD and isinstance(target, str):
            target = next((name for name in names_of(target) if parameter.contains(name)), target)
        values[path] = parameter.nearest(target)
    return values


def _target(path: str, setting: Mapping[str, Scalar], sweep: SweepSpec) -> Scalar | None:
    """Return the setting's value of a parameter, else the trial's default."""
    if path in setting:
        return setting[path]
    mapping = mapping_of(path)
    return setting[COMMON[mapping]] if mapping else get_field(sweep.trial, path)
