"""A trial that is a member of a population: where its training stands after each turn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from droplora_sweep.spec.fields import with_fields
from droplora_sweep.spec.population import MUTABLE

from .schedule import evaluation_steps, num_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.spec import Turn
    from droplora_sweep.spec.trial import TrialSpec

    from .checkpoints.snapshots import Snapshots
    from .position import Checkpoint


@dataclass(frozen=True)
class Membership:
    """What makes a trial a member.

    Attributes:
        turns: Where it has copied others, in order.
        snapshots: Its own, and others'.
    """

    turns: tuple[Turn, ...]
    snapshots: Snapshots


def spec_after(spec: TrialSpec, turns: Sequence[Turn]) -> TrialSpec:
    """What a trial trains with after its last turn; a turn sets all that a population changes."""
    return with_fields(spec, turns[-1].settings) if turns else spec


def identity_of(spec: TrialSpec, num_sequences: int, turns: Sequence[Turn] = ()) -> str:
    """Which trial a checkpoint is of: its spec, the number of its sequences, and its turns.

    Not its micro-batch, which is no part of where training stands: a trial that ran out of memory
    goes on with a smaller one.
    """
    fields = spec.model_dump_json(exclude={"training": {"micro_batch_size"}})
    text = f"{num_sequences}\n{fields}"
    if turns:
        text += "\n" + json.dumps([asdict(turn) for turn in turns])
    return hashlib.sha256(text.encode()).hexdigest()


def shared_identity(spec: TrialSpec, num_sequences: int) -> str:
    """What members that can copy each other have in common: all but what a turn changes."""
    left_out: dict[str, set[str]] = {"training": {"micro_batch_size"}}
    for section, _, name in (path.partition(".") for path in MUTABLE):
        left_out.setdefault(section, set()).add(name)
    fields = spec.model_dump_json(exclude=left_out)
    return hashlib.sha256(f"population\n{num_sequences}\n{fields}".encode()).hexdigest()


def after_turn(membership: Membership, spec: TrialSpec, num_sequences: int) -> Checkpoint:
    """Where a member stands at its last turn: the other's weights and optimiser; a collective.

    The last report stays its own, which is what it leaves if it is stopped before its next one.

    Raises:
        TrialError: A snapshot cannot be had; on every rank.
    """
    turn = membership.turns[-1]
    assert turn.source is not None, "who goes on as it is takes no turn in training"
    ends = evaluation_steps(
        num_steps(num_sequences, spec.training), spec.evaluation.num_evaluations
    )
    step, identity = ends[turn.evaluation - 1], shared_identity(spec, num_sequences)
    copied = membership.snapshots.read(turn.source, step, identity)
    own = membership.snapshots.read(None, step, identity)
    return replace(copied, position=own.position)
