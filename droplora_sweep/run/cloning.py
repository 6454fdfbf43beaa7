"""A trial made by hand from another one: its spec, and whether it may start from its adapter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.ledger.adapter_files import verify_adapter
from droplora_sweep.ledger.recorded import recorded_sweep
from droplora_sweep.plan.preflight import prepare
from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.fields import SEARCHABLE_FIELDS, get_field
from droplora_sweep.spec.loader import load_changed_trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.spec import Scalar

STARTABLE = ("droplora", "lora", "dora", "rslora")
"""Methods whose adapter is all that they train; the others change, share or are the base."""
SAME_SHAPES = ("rank", "alpha", "target_modules")
"""With another alpha the same numbers would be another update."""


def cloned_spec(
    ledger: Ledger, parent: TrialRecord, settings: Sequence[str], *, from_adapter: bool
) -> TrialSpec:
    """A trial's spec with other settings, checked as a file's would be.

    Args:
        ledger: The trial's sweep.
        parent: The trial.
        settings: ``path=value`` strings.
        from_adapter: Whether the clone is to start from its adapter.

    Raises:
        InputError: With every fault of the settings.
        SweepError: The sweep cannot be read, or the adapter is damaged.
    """
    before = TrialSpec.model_validate_json(json.dumps(parent.spec))
    file = load_changed_trial(recorded_sweep(ledger.record), before, settings)
    prepared = prepare(file)
    digests = prepared.data_digests()
    if digests != ledger.record.data_digests:
        problem = f"must be as when {ledger.record.name} was started, and has changed since"
        raise InputError([Fault("", "data", problem)])
    clone = prepared.sweep.trial.with_alpha()
    if from_adapter:
        faults = [Fault("", "--from-adapter", problem) for problem in start_problems(before, clone)]
        if parent.adapter is None:
            state = parent.state.lower()
            problem = f"must be of a trial with an adapter, got {parent.trial_id}, {state}"
            faults.append(Fault("", "--from-adapter", problem))
        if faults:
            raise InputError(faults)
        assert parent.adapter is not None
        verify_adapter(parent.adapter, parent.adapter_digest)
    elif clone == before:
        problem = f"must change something, or the clone is {parent.trial_id} again"
        raise InputError([Fault("", "--set", problem)])
    return clone


def start_problems(parent: TrialSpec, clone: TrialSpec) -> Iterator[str]:
    """Why a clone's training cannot start from its parent's adapter; nothing where it can.

    ``lora`` and ``droplora`` are one method.
    """
    first, second = parent.adapter, clone.adapter
    if first.method not in STARTABLE:
        yield f"must be of a trial with method {', '.join(STARTABLE)}, got {first.method}"
        return
    if first.canonical().method != second.canonical().method:
        yield f"must be of a trial with the clone's method {second.method}, got {first.method}"
    for name in SAME_SHAPES:
        mine, other = getattr(second, name), getattr(first, name)
        if mine != other:
            yield f"must be of a trial with the clone's {name} {mine}, got {other}"
    for which, adapter in (("parent", first), ("clone", second)):
        if adapter.is_pruned and adapter.mask == "learned":
            yield f"must be without learned masks, whose gates are no part of it, got a {which}'s"


def shown_params(
    parent: Mapping[str, Scalar], before: TrialSpec, clone: TrialSpec
) -> dict[str, Scalar]:
    """What tables show of a clone: its parent's fields, and all that differ.

    Args:
        parent: The parent's, by dotted path.
        before: The parent's spec.
        clone: The clone's.
    """
    changed = [
        path for path in SEARCHABLE_FIELDS if get_field(before, path) != get_field(clone, path)
    ]
    paths = dict.fromkeys([*parent, *changed])
    values = {path: get_field(clone, path) for path in paths}
    return {path: value for path, value in values.items() if value is not None}
