"""Rules of ``search.fidelity``: it makes a search's trials cheaper, and a confirmation follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.fidelity import (
    EPOCHS,
    MODEL_PATH,
    MODEL_REVISION,
    NUM_TRAIN,
    TRAIN_SHARE,
    FidelitySpec,
)
from droplora_sweep.spec.loading.messages import shown
from droplora_sweep.spec.trial import WARMUP_RATIO

from .parameter_rules import PARAMETERS, Finding, possible_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.loading.yaml_text import Path
    from droplora_sweep.spec.sweep import SweepSpec

FIDELITY: Path = ("search", "fidelity")
WARMUP_STEPS = "training.warmup_steps"


def find_unfit_fidelity(sweep: SweepSpec) -> Iterator[Finding]:
    """Yield every rule of ``search.fidelity`` that is broken."""
    fidelity = sweep.search.fidelity
    if fidelity is None:
        return
    known = [field.alias or name for name, field in FidelitySpec.model_fields.items()]
    given = set(fidelity.model_dump())
    if not given:
        yield Finding(FIDELITY, f"must have one of {', '.join(known)}, or be null")
    if sweep.confirm is None:
        problem = "must be null without `confirm`, whose runs alone train at full fidelity"
        yield Finding(FIDELITY, problem, (("confirm",),))
    if sweep.search.compare:
        problem = (
            "must be null with `search.compare`: variants are compared by the search's own trials, "
            "which would all be at low fidelity"
        )
        yield Finding(FIDELITY, problem, (("search", "compare"),))
    yield from _lower(sweep, fidelity)
    yield from _unsearched(sweep, given)
    if fidelity.is_shorter:
        yield from _warmup(sweep)
    yield from _model(sweep, fidelity)


def _lower(sweep: SweepSpec, fidelity: FidelitySpec) -> Iterator[Finding]:
    """A fidelity that is not lower than the confirmation's saves nothing."""
    count, limit = fidelity.num_train, sweep.task.num_train
    if isinstance(count, int) and limit is not None and count >= limit:
        problem = f"must be less than `{NUM_TRAIN}`, {limit}, got {count}"
        yield Finding((*FIDELITY, NUM_TRAIN), problem, (("task", "num_train"),))
    if fidelity.epochs is not None and fidelity.epochs >= sweep.training.epochs:
        problem = f"must be less than `{EPOCHS}`, {sweep.training.epochs}, got {fidelity.epochs}"
        yield Finding((*FIDELITY, EPOCHS), problem, (("training", "epochs"),))


def _model(sweep: SweepSpec, fidelity: FidelitySpec) -> Iterator[Finding]:
    """Another model has other scores untrained, which each split has once."""
    path, revision = fidelity.model_path, fidelity.model_revision
    if path is None:
        if revision is not None:
            problem = f"must be left out without `{MODEL_PATH}` here, got {shown(revision)}"
            yield Finding((*FIDELITY, MODEL_REVISION), problem)
        return
    if (path, revision) == (sweep.model.path, sweep.model.revision):
        problem = f"must differ from `{MODEL_PATH}`, got {shown(path)}"
        yield Finding((*FIDELITY, MODEL_PATH), problem, (("model", "path"),))
    if sweep.confirm is not None and sweep.confirm.examples != "new":
        problem = (
            "must be new with another model in `search.fidelity`: the untrained model is scored "
            f"once on each split, got {shown(sweep.confirm.examples)}"
        )
        yield Finding(("confirm", "examples"), problem, ((*FIDELITY, MODEL_PATH),))


def _unsearched(sweep: SweepSpec, given: set[str]) -> Iterator[Finding]:
    if NUM_TRAIN in given:
        given = {*given, TRAIN_SHARE}
    for path in sweep.search.parameters:
        if path in given:
            problem = "must not be searched where `search.fidelity` gives the search's value of it"
            yield Finding((*PARAMETERS, path), problem, (FIDELITY,))


def _warmup(sweep: SweepSpec) -> Iterator[Finding]:
    """A number of steps is another share of a shorter trial, and so another schedule."""
    for place, value in possible_values(WARMUP_STEPS, sweep):
        if value is not None:
            problem = (
                "must be null with `search.fidelity`, whose trials take fewer steps: give "
                f"`training.warmup_ratio`, a share of them (the paper's is {WARMUP_RATIO:g}), got "
                f"{shown(value)}"
            )
            yield Finding(place, problem, (FIDELITY,))
            return
