"""The trials of a search at low fidelity, and the same trials as a confirmation trains them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fidelity import EPOCHS, MODEL_PATH, MODEL_REVISION, NUM_TRAIN, TRAIN_SHARE
from .fields import get_field, with_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .base import Scalar
    from .sweep import SweepSpec
    from .trial import TrialSpec


def search_fields(sweep: SweepSpec) -> Mapping[str, Scalar | None]:
    """Return the fields that the search's trials have other values of, by dotted path.

    >>> from droplora_sweep.spec import SweepSpec
    >>> search = {"fidelity": {"task.num_train": 0.1, "training.epochs": 1}}
    >>> dict(search_fields(SweepSpec.model_validate({"name": "q", "search": search})))
    {'task.train_share': 0.1, 'training.epochs': 1}
    """
    fidelity = sweep.search.fidelity
    if fidelity is None:
        return {}
    fields: dict[str, Scalar | None] = {}
    if isinstance(fidelity.num_train, float):
        fields[TRAIN_SHARE] = fidelity.num_train * (sweep.task.train_share or 1.0)
    elif fidelity.num_train is not None:
        fields |= {NUM_TRAIN: fidelity.num_train, TRAIN_SHARE: None}
    if fidelity.epochs is not None:
        fields[EPOCHS] = fidelity.epochs
    if fidelity.model_path is not None:
        fields |= {MODEL_PATH: fidelity.model_path, MODEL_REVISION: fidelity.model_revision}
    return fields


def at_search_fidelity(sweep: SweepSpec) -> SweepSpec:
    """Return the sweep whose trials, by their defaults, are those of the search."""
    fields = search_fields(sweep)
    if not fields:
        return sweep
    trial = with_fields(sweep.trial, fields)
    changed = {name: getattr(trial, name) for name in type(trial).model_fields}
    search = sweep.search.model_copy(update={"fidelity": None})
    return sweep.model_copy(update={**changed, "search": search})


def at_full_fidelity(trial: TrialSpec, sweep: SweepSpec) -> TrialSpec:
    """Return a search's trial as the confirmation trains it."""
    fields = {path: get_field(sweep.trial, path) for path in search_fields(sweep)}
    return with_fields(trial, fields) if fields else trial
