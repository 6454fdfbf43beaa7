"""A population member's state at each of its evaluations, kept for other members to copy.

``trials/<trial>/snapshots/step-00000040/`` is a checkpoint (see this package) of the member as it
was when it was scored there. It is on the disk before the score is reported, so that whoever knows
the score can copy it; and it stays, also past the trial's end, until the search is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.distributed as dist

from droplora_sweep.errors import SweepError, TrialError
from droplora_sweep.storage import beside
from droplora_sweep.training.device import share_from_first

from .contents import checkpoint_files, read_checkpoint
from .folders import SNAPSHOTS, step_name
from .places import checkpoint_place
from .store import without_rank_0s_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.training.position import Checkpoint

    from .places import CheckpointPlace


class Snapshots:
    """One member's snapshots, and where those of others are; every rank has one.

    Args:
        own: Where the member's are; only rank 0 looks there.
        place_of: Where another member's are, by its trial id.
    """

    def __init__(self, own: CheckpointPlace, place_of: Callable[[str], CheckpointPlace]) -> None:
        self._own = own
        self._place_of = place_of

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Keep the member's state; a collective, and on the disk when it returns.

        One that is there and was scored alike stays: another member may be copying it.

        Args:
            identity: What all members of the population have in common.
            checkpoint: Each rank's; rank 0's is written.

        Raises:
            TrialError: It cannot be written; on every rank.
        """
        problem = self._write(identity, checkpoint) if dist.get_rank() == 0 else None
        if (problem := share_from_first(problem)) is not None:
            raise TrialError(f"cannot keep the snapshot that others may copy: {problem}")

    def read(self, source: str | None, step: int, identity: str) -> Checkpoint:
        """A member's state after so many steps; a collective.

        Rank 0 returns all of it, the others what `Checkpoints.usable` gives them.

        Args:
            source: The member; None for the own one.
            step: Optimiser steps.
            identity: What all members of the population have in common.

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
        """What went wrong, or None."""
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


def snapshots_of(trial: str) -> Snapshots:
    """A member's snapshots, and those of the members whose folders are beside its own.

    Args:
        trial: The trial's folder, or its URL.
    """
    return Snapshots(
        checkpoint_place(trial, SNAPSHOTS),
        lambda source: checkpoint_place(beside(trial, source), SNAPSHOTS),
    )


def _read(place: CheckpointPlace, step: int, identity: str) -> Checkpoint:
    with place.folder(step_name(step)) as folder:
        return read_checkpoint(folder, identity)
