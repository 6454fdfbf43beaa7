"""Rules of `training.zero`: what cannot be split over workers, or kept in the CPU's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.loading.messages import shown
from droplora_sweep.spec.methods import method_of

from .composition import METHOD
from .parameter_rules import Finding, possible_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.sweep import SweepSpec

STAGE = ("training", "zero", "stage")
OFFLOAD = ("training", "zero", "offload")


def find_unfit_zero(sweep: SweepSpec) -> Iterator[Finding]:
    """Yield what the chosen stage or offload cannot take, each with the reason."""
    if sweep.training.zero.stage == 3:
        yield from _split_base(sweep)
    if sweep.training.zero.offload == "cpu":
        for place, value in possible_values("training.optimizer", sweep):
            if value == "adamw_8bit":
                problem = (
                    "must be adamw with `training.zero.offload: cpu`, got 'adamw_8bit', which "
                    "keeps its state where the weights are"
                )
                yield Finding(place, problem, (OFFLOAD,))


def _split_base(sweep: SweepSpec) -> Iterator[Finding]:
    for place, name in possible_values(METHOD, sweep):
        method = method_of(str(name))
        if method.no_sharding is not None:
            problem = (
                f"must be another one with `training.zero.stage: 3`, got {shown(name)}, which "
                f"{method.no_sharding}; with `stage: 2` it is possible"
            )
            yield Finding(place, problem, (STAGE,))
        elif not method.has_rank:
            for where, value in possible_values("training.optimizer", sweep):
                if value != "adamw":
                    problem = (
                        f"must be adamw with `training.zero.stage: 3` and `method: {method.name}`, "
                        f"whose weights are cut anywhere, got {shown(value)}"
                    )
                    yield Finding(where, problem, (STAGE,))
    if sweep.adapter.modules_to_save:
        problem = (
            "must be empty with `training.zero.stage: 3`, since whole modules are copied to be "
            f"trained, got {', '.join(sweep.adapter.modules_to_save)}"
        )
        yield Finding(("adapter", "modules_to_save"), problem, (STAGE,))
    if sweep.model.quantization != "none":
        problem = (
            "must be none with `training.zero.stage: 3`, which splits weights of one precision, "
            f"got {shown(sweep.model.quantization)}; with `stage: 2` it is possible"
        )
        yield Finding(("model", "quantization"), problem, (STAGE,))
    if sweep.evaluation.backend == "vllm":
        problem = (
            "must be auto or transformers with `training.zero.stage: 3`, got 'vllm', which loads "
            "the whole model on every worker"
        )
        yield Finding(("evaluation", "backend"), problem, (STAGE,))
    if sweep.group.num_workers == 1 and sweep.training.zero.offload == "none":
        problem = (
            "must be 2 with one worker, which is all there is to split the weights over, got 3; "
            "`group.num_workers: 2` halves them, `training.zero.offload: cpu` keeps them in the "
            "CPU's memory"
        )
        yield Finding(STAGE, problem, (("group", "num_workers"),))
