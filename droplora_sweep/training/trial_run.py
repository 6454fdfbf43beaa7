"""Run of one trial from its position to its end: steps, evaluations, checkpoints."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from droplora_sweep.adapters.methods.lora_drop import LoraDrop
from droplora_sweep.errors import TrialError, TrialInterruptedError
from droplora_sweep.evaluation.results import outcomes
from droplora_sweep.records.messages import Decision
from droplora_sweep.records.trial import Evaluation
from droplora_sweep.spec import ExploitStep
from droplora_sweep.spec.metric_names import TRAINABLE_PARAMETERS

from .position import Checkpoint, Position
from .reporting import InStep, Report, Trained
from .schedule import evaluation_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from droplora_sweep.adapters.adapted import Adapted
    from droplora_sweep.evaluation.results import ExampleResult

    from .engine import TrialEngine
    from .loop import Loop

    Decide = Callable[[Report | None], Decision | ExploitStep]
    OnStep = Callable[[int, int], bool | None]
    Save = Callable[[Checkpoint], None]
    Validate = Callable[[], tuple[dict[str, float], list[ExampleResult]] | None]


def drop_layers(
    adapted: LoraDrop, loop: Loop, engine: TrialEngine, num_steps: int, in_step: InStep
) -> None:
    """Measure on the examples of the first steps, which the trial has trained on; a collective.

    Every rank measures its own examples, the sums are added up, and all drop the same layers. The
    optimiser starts afresh, since some of its weights are gone; the learning rate follows its
    schedule.

    Raises:
        TrialError: No layer has any output; on every rank.
    """
    adapted.model.eval()
    # What a rank runs for the sake of others is not measured.
    with torch.no_grad(), in_step(), adapted.measured() as meter:
        for inputs, counted in loop.inputs(num_steps):
            meter.counted_BT = counted
            # The head's logits are not needed; those of one position are the fewest there are.
            adapted.model(input_ids=inputs, logits_to_keep=1, use_cache=False)
    dist.all_reduce(meter.sum_L2)
    with engine.reopened():
        adapted.drop_layers(meter.sum_L2)


class TrialRun:
    """Trains a trial from a position on.

    Args:
        adapted: The adapted model, as it is at that position.
        loop: Its steps.
        engine: The engine over it.
        position: Its position; the same on all ranks.
        num_evaluations: Of a whole trial.
        validate: Scores the validation split: metrics and results on rank 0, None elsewhere.
        save: Writes a checkpoint, called on all ranks; None where none are kept.
        save_snapshot: Saves a snapshot for other members of a population, called on all ranks;
            None for a trial that is no member.
        left_out: Metrics of what the trial does not train on, for the reports.
        in_step: As `reporting.validate` has it.
        must_learn: Refuses to score a model that computes what it did before.
    """

    def __init__(
        self,
        *,
        adapted: Adapted,
        loop: Loop,
        engine: TrialEngine,
        position: Position,
        num_evaluations: int,
        validate: Validate,
        save: Save | None,
        save_snapshot: Save | None = None,
        left_out: Mapping[str, float],
        in_step: InStep = contextlib.nullcontext,
        must_learn: bool = True,
    ) -> None:
        self._position = position
        self._must_learn = must_learn
        self._saved = position.place
        self._save = save
        self._save_snapshot = save_snapshot
        self._adapted = adapted
        self._loop = loop
        self._engine = engine
        self._validate = validate
        self._left_out = left_out
        self._in_step = in_step
        self._ends = evaluation_steps(loop.num_steps, num_evaluations)
        self._lora_drop = adapted if isinstance(adapted, LoraDrop) else None
        self._num_sampling = (
            self._lora_drop.num_sampling_steps(loop.num_steps) if self._lora_drop else 0
        )
        if position.step:
            # What a mask is after training, and an evaluation, follow the last step's rate.
            adapted.set_step(position.step - 1, loop.num_steps)

    def run(self, decide: Decide, on_step: OnStep | None) -> ExploitStep | None:
        """Train until the last evaluation, or until ``decide`` ends it; every rank takes part.

        Args:
            decide: As in `TrialRunner.run`.
            on_step: As in `TrialRunner.run`.

        Returns:
            The exploit step that ``decide`` had a member of a population make, else None.

        Raises:
            TrialError: Training diverged, or a snapshot cannot be written; on every rank.
            TrialInterruptedError: ``decide`` or ``on_step`` raised it; a checkpoint was saved.
        """
        try:
            for end in self._ends[self._position.evaluation :]:
                is_due = self._train_to(end, on_step)
                if end == self._ends[-1] and self._must_learn:
                    self._require_learned()
                self._evaluate()
                if is_due:
                    self._checkpoint()
                if self._save_snapshot is not None and end != self._ends[-1]:
                    self._save_snapshot(self._state())
                decision = decide(self._position.report)
                if isinstance(decision, ExploitStep):
                    return decision
                if decision is Decision.END:
                    return None
        except TrialInterruptedError:
            self._checkpoint()
            raise
        return None

    def _train_to(self, end: int, on_step: OnStep | None) -> bool:
        """Train to a step; True where a checkpoint is due there, which waits for the evaluation."""
        is_due = False
        while self._position.step < end:
            step = self._position.step
            if self._lora_drop and step == self._num_sampling:
                drop_layers(
                    self._lora_drop, self._loop, self._engine, self._num_sampling, self._in_step
                )
            result = self._loop.run_step(step)
            self._position = replace(
                self._position,
                step=step + 1,
                trained=self._position.trained.plus(result),
                late_loss=self._position.late_loss.plus(
                    step, result.loss, self._loop.num_steps, self._loop.num_epochs
                ),
            )
            is_due = on_step is not None and bool(on_step(step + 1, self._loop.num_steps))
            if is_due and step + 1 < end:
                self._checkpoint()
        return is_due

    def _require_learned(self) -> None:
        """Refuse to score the base model as if it had been trained.

        Raises:
            TrialError: The update is what it was; on every rank.
        """
        if not self._adapted.has_learned():
            rate = self._position.trained.learning_rate
            raise TrialError(
                f"nothing was learned in {self._loop.num_steps} optimiser steps: the model "
                "computes what it did before them. Its gradients were zero, or its steps too small "
                f"for the weights' precision (last learning rate {rate:g}); a higher "
                "training.learning_rate or a lower pruning rate may help"
            )

    def _evaluate(self) -> None:
        number, step = self._position.evaluation + 1, self._position.step
        late_loss = self._position.late_loss
        validation = self._validate()
        report = None
        if validation is not None:
            metrics = {
                **self._position.trained.metrics(),
                **late_loss.metrics(self._loop.num_steps, self._loop.num_epochs),
                **validation[0],
                **self._left_out,
                TRAINABLE_PARAMETERS: float(self._adapted.num_trainable),
            }
            evaluation = Evaluation(
                number=number,
                num_evaluations=len(self._ends),
                step=step,
                metrics=metrics,
                outcomes=outcomes(validation[1]),
            )
            report = Report(evaluation, validation[1])
        self._position = Position(
            step=step, trained=Trained(), evaluation=number, report=report, late_loss=late_loss
        )

    def _checkpoint(self) -> None:
        """Save what is not saved yet; a collective."""
        if self._save is None or self._saved == self._position.place:
            return
        self._saved = self._position.place
        self._save(self._state())

    def _state(self) -> Checkpoint:
        """All of it; a collective."""
        workers, state = dist.get_world_size(), self._engine.state()
        return Checkpoint(
            position=self._position, facts=self._adapted.facts, num_workers=workers, optimizer=state
        )
