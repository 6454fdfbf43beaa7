"""One trial's checkpoints, as its group writes and reads them."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import torch.distributed as dist

from droplora_sweep.errors import SweepError
from droplora_sweep.training.device import share_from_first

from .contents import checkpoint_files, read_checkpoint
from .due import is_due
from .folders import step_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from droplora_sweep.spec import CheckpointSpec
    from droplora_sweep.training.position import Checkpoint, Position

    from .places import CheckpointPlace

logger = logging.getLogger(__name__)


class Checkpoints:
    """Saves a trial and finds where to take it up; every rank has one, rank 0 has the files.

    A checkpoint is copied to rank 0's memory at its step; a thread writes the files while training
    goes on. At most one is written at a time.

    Args:
        place: Where they are; only rank 0 looks there.
        spec: When, and how many are kept.
    """

    def __init__(self, place: CheckpointPlace, spec: CheckpointSpec) -> None:
        self._place = place
        self._spec = spec
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._last_step = 0
        self._last_time = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether rank 0 wants one after this step; not while the last one is being written."""
        if self._writing is not None and not self._writing.done():
            return False
        return is_due(self._spec, step - self._last_step, time.monotonic() - self._last_time)

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Start writing what was copied; waits for the checkpoint before, if it is still written.

        Args:
            identity: Which trial it is of.
            checkpoint: Each rank's; rank 0's is written.
        """
        self._note(checkpoint.position)
        if dist.get_rank() == 0:
            self.wait()
            self._writing = self._writer.submit(self._write, checkpoint, identity)

    def usable(self, identity: str) -> Iterator[Checkpoint]:
        """The trial's undamaged checkpoints, newest first; a collective.

        Rank 0 yields all of each, the others its position and what was decided.
        """
        names = self._names() if dist.get_rank() == 0 else []
        while True:
            found = None
            while names and found is None:
                found = self._read(names.pop(0), identity)
            shared = share_from_first(found and without_rank_0s_part(found))
            if shared is None:
                return
            self._note(shared.position)
            yield found or shared

    def wait(self) -> None:
        """Until the last checkpoint is written."""
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        """Wait for the last checkpoint, and end the thread."""
        self._writer.shutdown(wait=True)
        self.wait()

    def _note(self, position: Position) -> None:
        self._last_step = position.step
        self._last_time = time.monotonic()

    def _write(self, checkpoint: Checkpoint, identity: str) -> None:
        name = step_name(checkpoint.position.step)
        try:
            self._place.publish(name, checkpoint_files(checkpoint, identity))
            self._place.prune(self._spec.keep)
        except (OSError, SweepError) as error:
            # The trial needs no checkpoint to go on.
            logger.warning("%s/%s: cannot write the checkpoint: %s", self._place, name, error)

    def _names(self) -> list[str]:
        try:
            return self._place.names()
        except (OSError, SweepError) as error:
            # Without them the trial starts anew.
            logger.warning("%s: cannot look for checkpoints: %s", self._place, error)
            return []

    def _read(self, name: str, identity: str) -> Checkpoint | None:
        try:
            with self._place.folder(name) as folder:
                return read_checkpoint(folder, identity)
        except SweepError as error:
            logger.warning("left out a checkpoint: %s", error)
            return None


def without_rank_0s_part(checkpoint: Checkpoint) -> Checkpoint:
    """What the other ranks need to know of a checkpoint that rank 0 has."""
    position = replace(checkpoint.position, report=None)
    return replace(checkpoint, position=position, optimizer=None)
