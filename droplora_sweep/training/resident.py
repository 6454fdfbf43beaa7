"""One worker's long-lived part: the base model, and the trials it trains on it one by one."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from droplora_sweep.adapters import LoraDrop, attach
from droplora_sweep.errors import Fault, InputError
from droplora_sweep.models import load_base_model, load_tokenizer
from droplora_sweep.tasks import load_task

from .data import encode
from .device import import_deepspeed, keep_what_is_here, release, settle, start_peak
from .dropping import drop_layers
from .engine import started_engine
from .loop import Loop
from .reporting import Report, training_metrics, validate
from .schedule import evaluation_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from droplora_sweep.adapters import Adapted
    from droplora_sweep.spec.trial import ModelSpec, TaskSpec, TrialSpec
    from droplora_sweep.tasks import Task

    from .data import TrainingData
    from .engine import Engine


class Resident:
    """Trains trials over one resident base model, which every trial leaves as it was.

    Made once per worker. If torch.distributed is initialised, all its ranks make one and call
    `run` with the same trials in the same order; otherwise this worker is alone.

    Args:
        model: The base model of every trial.
        threads: Torch threads on CPU; torch's default where None.

    Raises:
        InputError: The model cannot be loaded.
    """

    def __init__(self, model: ModelSpec, *, threads: int | None) -> None:
        self._spec = model
        self._device = settle(threads)
        self._base = load_base_model(model, self._device)
        self._tokenizer = load_tokenizer(model)
        import_deepspeed(self._device)
        keep_what_is_here()
        self._task: tuple[TaskSpec, int, Task, TrainingData] | None = None

    def run(
        self,
        spec: TrialSpec,
        decide: Callable[[Report | None], bool],
        *,
        on_step: Callable[[int, int], None] | None = None,
    ) -> dict[str, bytes]:
        """Train and evaluate one trial.

        Args:
            spec: The trial; its model is the resident's.
            decide: Called on every rank after each evaluation, with the report on rank 0 and None
                elsewhere; it returns the same on all ranks, False to end the trial there.
            on_step: Called after each optimiser step with the steps done and their number.

        Returns:
            The files of what was trained on rank 0, as it was when it was last evaluated; {}
            elsewhere.

        Raises:
            InputError: The task cannot be loaded, or the adapter does not fit the model.
            TrialError: Training diverged, on every rank; the resident stays usable.
        """
        assert spec.model == self._spec, "a resident serves trials of its own base model"
        task, data = self._load(spec)
        start_peak(self._device)
        adapted = attach(self._base, spec.adapter, spec.seed)
        try:
            if spec.training.gradient_checkpointing:
                self._base.activation_checkpointing_enable()
                # Its hook on the embeddings is for the reentrant kind, and would outlive the trial.
                self._base.disable_input_require_grads()
            with started_engine(adapted.model, spec.training, self._device) as engine:
                loop = Loop(adapted, engine, data, spec, self._tokenizer.pad_token_id, self._device)
                for report in self._reports(adapted, loop, engine, task, data, spec, on_step):
                    if not decide(report):
                        break
            return self._files(adapted, spec) if dist.get_rank() == 0 else {}
        finally:
            if spec.training.gradient_checkpointing:
                self._base.activation_checkpointing_disable()
            adapted.detach()
            del adapted
            release(self._device)

    def _load(self, spec: TrialSpec) -> tuple[Task, TrainingData]:
        """The task and its tokens, kept for the next trial of the same task."""
        limit = spec.training.max_sequence_tokens
        if self._task is None or self._task[:2] != (spec.task, limit):
            task = load_task(spec.task)
            pairs = [
                (source.render_prompt(example), example.output)
                for source, example in task.training_examples()
            ]
            data = encode(self._tokenizer, pairs, limit)
            if not data.sequences:
                problem = f"must leave some of {len(pairs)} training examples, got {limit}"
                raise InputError([Fault("", "training.max_sequence_tokens", problem)])
            self._task = (spec.task, limit, task, data)
        return self._task[2], self._task[3]

    def _files(self, adapted: Adapted, spec: TrialSpec) -> dict[str, bytes]:
        """What was trained; a whole model with its tokenizer, so that it loads by itself."""
        files = adapted.files(spec)
        if spec.adapter.method == "full":
            with tempfile.TemporaryDirectory() as folder:
                self._tokenizer.save_pretrained(folder)
                files |= {file.name: file.read_bytes() for file in Path(folder).iterdir()}
        return files

    def _reports(
        self,
        adapted: Adapted,
        loop: Loop,
        engine: Engine,
        task: Task,
        data: TrainingData,
        spec: TrialSpec,
        on_step: Callable[[int, int], None] | None,
    ) -> Iterator[Report | None]:
        """Train up to each evaluation and yield its report; training waits for the caller."""
        ends = evaluation_steps(loop.num_steps, spec.evaluation.num_evaluations)
        lora_drop = adapted if isinstance(adapted, LoraDrop) else None
        num_sampling = lora_drop.num_sampling_steps(loop.num_steps) if lora_drop else 0
        for evaluation, (start, end) in enumerate(pairwise((0, *ends)), start=1):
            steps = []
            for step in range(start, end):
                if lora_drop and step == num_sampling:
                    drop_layers(lora_drop, loop, engine, num_sampling)
                steps.append(loop.run_step(step))
                if on_step is not None:
                    on_step(step + 1, loop.num_steps)
            validation = validate(
                adapted.model, self._tokenizer, task, spec.evaluation, self._device
            )
            if validation is None:
                yield None
                continue
            metrics = {
                **training_metrics(steps),
                **validation[0],
                "overlong_examples": float(data.num_overlong),
                "trainable_parameters": float(adapted.num_trainable),
            }
            yield Report(evaluation, len(ends), end, loop.num_steps, metrics, validation[1])
