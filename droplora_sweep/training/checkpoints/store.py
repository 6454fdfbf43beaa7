"""Checkpoints of one trial, as its group writes and reads them."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file

from droplora_sweep.adapters.tensor_files import write_tensors
from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation.results import ExampleResult, outcomes
from droplora_sweep.publishing import verify_folder
from droplora_sweep.records.trial import Evaluation
from droplora_sweep.training.device import share_from_first
from droplora_sweep.training.engine import OptimizerState
from droplora_sweep.training.position import Checkpoint, LateLoss, Position, Sums
from droplora_sweep.training.reporting import Report, Trained

from .places import step_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from droplora_sweep.publishing import Content
    from droplora_sweep.spec import CheckpointSpec

    from .places import CheckpointPlace


_SECONDS_PER_MINUTE = 60.0


def is_due(spec: CheckpointSpec, num_steps: int, seconds: float) -> bool:
    """Return True where one is due, so many steps and seconds after the last one or the start."""
    by_steps = spec.every_steps is not None and num_steps >= spec.every_steps
    minutes = seconds / _SECONDS_PER_MINUTE
    return by_steps or (spec.every_minutes is not None and minutes >= spec.every_minutes)


FORMAT = 1
STATE = "state.json"
TENSORS = ("weights", "exp_avg", "exp_avg_sq")


def checkpoint_files(checkpoint: Checkpoint, identity: str) -> dict[str, Content]:
    """Return the files by name, with their content or what writes it.

    Args:
        checkpoint: Rank 0's.
        identity: Identity of its trial, which `read_checkpoint` compares.
    """
    assert checkpoint.optimizer is not None, "rank 0 has the weights"
    report = checkpoint.position.report
    state = {
        "format": FORMAT,
        "identity": identity,
        "num_workers": checkpoint.num_workers,
        "num_updates": checkpoint.optimizer.num_updates,
        "facts": checkpoint.facts,
        **asdict(replace(checkpoint.position, report=None)),
        "report": report and _report_state(report),
    }
    files: dict[str, Content] = {STATE: json.dumps(state, indent=1).encode() + b"\n"}
    for name in TENSORS:
        tensors = getattr(checkpoint.optimizer, name)
        files[f"{name}.safetensors"] = partial(write_tensors, tensors=tensors)
    return files


def read_checkpoint(folder: Path, identity: str) -> Checkpoint:
    """Read a checkpoint whose every checksum is right.

    Raises:
        SweepError: It is damaged, not of this trial, or of another version of this format.
    """
    try:
        verify_folder(folder)
        state = json.loads((folder / STATE).read_text())
        if state["format"] != FORMAT or state["identity"] != identity:
            raise SweepError(f"{folder}: must be of this trial, got one of another")
        tensors = {name: load_file(folder / f"{name}.safetensors") for name in TENSORS}
        return Checkpoint(
            position=Position(
                step=state["step"],
                trained=Trained(**state["trained"]),
                evaluation=state["evaluation"],
                report=state["report"] and _report(state["report"]),
                # One of an older version has none.
                late_loss=LateLoss(
                    **{name: Sums(**sums) for name, sums in state.get("late_loss", {}).items()}
                ),
            ),
            facts=state["facts"],
            num_workers=state["num_workers"],
            optimizer=OptimizerState(**tensors, num_updates=state["num_updates"]),
        )
    except OSError as error:
        raise SweepError(f"{folder}: cannot read: {error.strerror}") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        # Its checksums are right: another process has put it there.
        raise SweepError(
            f"{folder}: must be safetensors and JSON as written here: {error}"
        ) from error


def _report_state(report: Report) -> dict[str, Any]:
    evaluation = report.evaluation
    return {
        "evaluation": evaluation.number,
        "num_evaluations": evaluation.num_evaluations,
        "step": evaluation.step,
        "metrics": dict(evaluation.metrics),
        "results": [asdict(result) for result in report.results],
    }


def _report(state: dict[str, Any]) -> Report:
    results = [ExampleResult(**result) for result in state["results"]]
    evaluation = Evaluation(
        number=state["evaluation"],
        num_evaluations=state["num_evaluations"],
        step=state["step"],
        metrics=state["metrics"],
        outcomes=outcomes(results),
    )
    return Report(evaluation, results)


logger = logging.getLogger(__name__)


class KeepsCheckpoints(Protocol):
    """Keeper of one trial's checkpoints; every rank has one."""

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Save one, or begin to; a collective."""

    def usable(self, identity: str) -> Iterator[Checkpoint]:
        """The trial's undamaged checkpoints, newest first; a collective."""


class Checkpoints:
    """Checkpoints of one trial, to save and to resume from; every rank has one, rank 0 the files.

    A checkpoint is copied to rank 0's memory at its step; a thread writes the files while training
    continues. At most one is written at a time.

    Args:
        place: Their place; only rank 0 looks there.
        spec: Intervals, and number of those kept.
    """

    def __init__(self, place: CheckpointPlace, spec: CheckpointSpec) -> None:
        self._place = place
        self._spec = spec
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._last_step = 0
        self._last_time = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Return True where one is due after this step; never while the last is being written."""
        if self._writing is not None and not self._writing.done():
            return False
        return is_due(self._spec, step - self._last_step, time.monotonic() - self._last_time)

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Start writing what was copied; waits for the checkpoint before, if it is still written.

        Args:
            identity: Identity of its trial.
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
            # The trial needs no checkpoint to continue.
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
    """Return what the other ranks need to know of a checkpoint that rank 0 has."""
    position = replace(checkpoint.position, report=None)
    return replace(checkpoint, position=position, optimizer=None)
