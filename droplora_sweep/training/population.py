"""Members of a population: their states at each evaluation, kept for others to copy.

``trials/<trial>/snapshots/step-00000040/`` is a checkpoint (see ``checkpoints``) of the member as
it was when it was scored there. It is on the disk before the score is reported, so that whoever
knows the score can copy it; and it stays, also past the trial's end, until the search is over.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch.distributed as dist

from droplora_sweep.errors import SweepError, TrialError
from droplora_sweep.spec.fields import with_fields
from droplora_sweep.spec.search import MUTABLE
from droplora_sweep.spec.trial import unchanged
from droplora_sweep.storage.object_store import beside

from .checkpoints.places import step_name
from .checkpoints.store import checkpoint_files, read_checkpoint, without_rank_0s_part
from .device import share_from_first
from .schedule import evaluation_steps, num_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from droplora_sweep.spec import ExploitStep
    from droplora_sweep.spec.trial import TrialSpec

    from .checkpoints.places import CheckpointPlace
    from .position import Checkpoint


class Snapshots:
    """Snapshots of one member, and the places of others' snapshots; every rank has one.

    Args:
        own: Place of the member's own; only rank 0 looks there.
        place_of: Returns the place of another member's, by its trial id.
    """

    def __init__(self, own: CheckpointPlace, place_of: Callable[[str], CheckpointPlace]) -> None:
        self._own = own
        self._place_of = place_of

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Save the member's state; a collective, and on the disk when it returns.

        One that is there and was scored alike stays: another member may be copying it.

        Args:
            identity: Identity that all members of the population share.
            checkpoint: Each rank's; rank 0's is written.

        Raises:
            TrialError: It cannot be written; on every rank.
        """
        problem = self._write(identity, checkpoint) if dist.get_rank() == 0 else None
        if (problem := share_from_first(problem)) is not None:
            raise TrialError(f"cannot save the snapshot that others may copy: {problem}")

    def read(self, source: str | None, step: int, identity: str) -> Checkpoint:
        """A member's state after so many steps; a collective.

        Rank 0 returns all of it, the others what `Checkpoints.usable` gives them.

        Args:
            source: The member; None for the own one.
            step: Optimiser steps.
            identity: Identity that all members of the population share.

        Raises:
            TrialError: It is gone, damaged or of another population; on every rank.
        """
        found, problem = None, None
        if dist.get_rank() == 0:
            place = self._own if source is None else self._place_of(source)
            try:
                found = _read(place, step, identity)
            except (OSError, SweepError) as error:
                problem = str(error)
        shared, problem = share_from_first((found and without_rank_0s_part(found), problem))
        if shared is None:
            raise TrialError(f"cannot copy {source or 'itself'} after step {step}: {problem}")
        return found or shared

    def _write(self, identity: str, checkpoint: Checkpoint) -> str | None:
        """Write the snapshot; return what went wrong, or None."""
        step, report = checkpoint.position.step, checkpoint.position.report
        assert report is not None, "rank 0 has the report"
        try:
            before = _read(self._own, step, identity).position.report
            if before is not None and before.results == report.results:
                return None
        except (OSError, SweepError):
            # There is none yet, or no whole one.
            pass
        try:
            self._own.publish(step_name(step), checkpoint_files(checkpoint, identity))
        except (OSError, SweepError) as error:
            return str(error)
        return None


def snapshots_of(trial: str, place_of: Callable[[str], CheckpointPlace]) -> Snapshots:
    """A member's snapshots, and those of the members whose folders are beside its own.

    Args:
        trial: The trial's folder, or its URL.
        place_of: Returns the place of a trial's snapshots, by its folder or URL.
    """
    return Snapshots(place_of(trial), lambda source: place_of(beside(trial, source)))


def _read(place: CheckpointPlace, step: int, identity: str) -> Checkpoint:
    with place.folder(step_name(step)) as folder:
        return read_checkpoint(folder, identity)


@dataclass(frozen=True)
class Membership:
    """Membership of a trial in a population.

    Attributes:
        exploit_steps: The steps at which it copied others, in order.
        snapshots: Its own, and others'.
    """

    exploit_steps: tuple[ExploitStep, ...]
    snapshots: Snapshots


def spec_after(spec: TrialSpec, exploit_steps: Sequence[ExploitStep]) -> TrialSpec:
    """Return what a trial trains with after its last exploit step, which sets all that changes."""
    return with_fields(spec, exploit_steps[-1].settings) if exploit_steps else spec


def identity_of(
    spec: TrialSpec,
    num_sequences: int,
    exploit_steps: Sequence[ExploitStep] = (),
    *,
    template: str | None = None,
) -> str:
    """Return the identity of a trial: of its spec, its number of sequences, its exploit steps.

    Its micro-batch is left out, since it changes no result: a trial that ran out of memory resumes
    with a smaller one.

    Args:
        spec: The trial.
        num_sequences: Sequences that it trains on.
        exploit_steps: Of a member of a population.
        template: Digest of the chat template; None of a prompt that is plain text.
    """
    text = f"{num_sequences}\n{_fields(spec)}"
    if template is not None:
        text += f"\n{template}"
    if exploit_steps:
        text += "\n" + json.dumps([asdict(exploit_step) for exploit_step in exploit_steps])
    return hashlib.sha256(text.encode()).hexdigest()


def shared_identity(spec: TrialSpec, num_sequences: int, *, template: str | None = None) -> str:
    """Return what members that can copy each other share: all but what an exploit step changes."""
    text = f"population\n{num_sequences}\n{_fields(spec, MUTABLE)}"
    if template is not None:
        text += f"\n{template}"
    return hashlib.sha256(text.encode()).hexdigest()


def _fields(spec: TrialSpec, left_out: Sequence[str] = ()) -> str:
    """Return a trial's fields as JSON, but for the micro-batch and those that are left out.

    Where no likelihood is measured that is left out too, as it was when none could be; and so are
    later fields at their defaults.
    """
    sections: dict[str, set[str]] = {
        "model": unchanged(spec.model),
        "adapter": unchanged(spec.adapter),
        "training": {"micro_batch_size", "micro_batch_tokens", *unchanged(spec.training)},
        "evaluation": set(),
    }
    if not spec.evaluation.likelihood:
        sections["evaluation"].add("likelihood")
    for section, _, name in (path.partition(".") for path in left_out):
        sections.setdefault(section, set()).add(name)
    return spec.model_dump_json(exclude=sections)


def after_exploit(
    membership: Membership, spec: TrialSpec, num_sequences: int, *, template: str | None = None
) -> Checkpoint:
    """Return a member after its last exploit step: the other's weights and optimiser; a collective.

    The last report stays its own, which is what it leaves if it is stopped before its next one.

    Raises:
        TrialError: A snapshot cannot be had; on every rank.
    """
    exploit_step = membership.exploit_steps[-1]
    assert exploit_step.source is not None, "only a copy is a step in training"
    ends = evaluation_steps(
        num_steps(num_sequences, spec.training), spec.evaluation.num_evaluations
    )
    step = ends[exploit_step.evaluation - 1]
    identity = shared_identity(spec, num_sequences, template=template)
    copied = membership.snapshots.read(exploit_step.source, step, identity)
    own = membership.snapshots.read(None, step, identity)
    return replace(copied, position=own.position)
