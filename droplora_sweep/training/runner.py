"""Runner of a worker: a base model that stays, and the trials trained on it one by one."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch.distributed as dist

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.errors import AgreedError, SweepError
from droplora_sweep.evaluation.context import model_context
from droplora_sweep.files import disk_faults_named
from droplora_sweep.models.loading import (
    load_base_model,
    load_sharded_model,
    load_tokenizer,
    num_embedded_tokens,
)
from droplora_sweep.models.resolving import resolve_model
from droplora_sweep.records.messages import Decision
from droplora_sweep.scorers.scorer import ScoringError
from droplora_sweep.spec import ExploitStep, ZeroSpec
from droplora_sweep.spec.methods import method_of

from .canary import (
    CanaryCheckpoint,
    field_of_scorer,
    in_little,
    longest,
    require_services,
)
from .data import key_of, read
from .decoding import Decoded, Decoding
from .device import (
    choose_kernels,
    import_deepspeed,
    keep_what_is_here,
    let_go,
    release,
    require_precision,
    settle,
    share_from_first,
    start_peak,
)
from .engine import started_engine
from .loop import Loop
from .population import after_exploit, identity_of, shared_identity, spec_after
from .position import Position
from .reporting import InStep, Scored, read_before, validate
from .saved import as_loaded_by_users
from .sharded_full import ShardedEngine, ShardedFullModel
from .trial_run import TrialRun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from droplora_sweep.adapters.adapted import Adapted
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.models.hub import OnArrival
    from droplora_sweep.models.sharding import ShardedModel
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.spec.trial import ModelSpec, TrialSpec
    from droplora_sweep.tasks.task import ScoredSplit

    from .checkpoints.places import CheckpointPlace
    from .checkpoints.store import Checkpoints, KeepsCheckpoints
    from .data import Reading
    from .engine import TrialEngine
    from .population import Membership
    from .position import Checkpoint
    from .reporting import HeldOut
    from .trial_run import Decide, OnStep

    OnBegin = Callable[[int, int], None]
    OnForward = Callable[[bool], None]


class TrialRunner:
    """Trains trials over one resident base model, which every trial leaves as it was.

    Made once per worker. If torch.distributed is initialised, all its ranks make one and call
    `run` with the same trials in the same order; otherwise this worker is alone.

    Args:
        model: The base model of every trial.
        threads: Torch threads on CPU; torch's default where None.
        gpu_index: Index of this worker's own GPU among the visible ones; None trains on the CPU,
            whatever is visible.
        gpu_share: Share of that GPU's memory that is this worker's.
        on_forward: Called before each forward pass, of training or evaluation, with whether the
            model is in training mode. Where workers wait for one that hangs it is not called.
        on_arrival: Called while a Hub model is downloaded (see `HubModel.fetch`).
        zero: What the ranks split of the base model; nothing where None.

    Raises:
        InputError: The model cannot be found or loaded, or torch cannot use the GPU.
    """

    def __init__(
        self,
        model: ModelSpec,
        *,
        threads: int | None,
        gpu_index: int | None = None,
        gpu_share: float = 1.0,
        on_forward: OnForward | None = None,
        on_arrival: OnArrival | None = None,
        zero: ZeroSpec | None = None,
    ) -> None:
        self._device = settle(threads, gpu_index, gpu_share)
        self._on_forward = on_forward
        self._on_arrival = on_arrival
        self._gpu_share = gpu_share
        self._load(model, zero or ZeroSpec())

    def _load(self, model: ModelSpec, zero: ZeroSpec) -> None:
        """Make a base model the resident, and keep nothing of another one."""
        self._spec, self._zero = model, zero
        require_precision(self._device, model.dtype)
        resolve_model(model, self._on_arrival)
        self._sharded: ShardedModel | None = None
        self._in_step: InStep = contextlib.nullcontext
        if zero.stage == 3:
            offload = zero.offload == "cpu"
            self._sharded = load_sharded_model(model, self._device, offload=offload)
            self._base, self._in_step = self._sharded.model, self._sharded.in_step
        else:
            self._base = load_base_model(model, self._device)
        if (on_forward := self._on_forward) is not None:
            self._base.register_forward_pre_hook(lambda base, _: on_forward(base.training))
        self._tokenizer = load_tokenizer(model)
        import_deepspeed(self._device)
        keep_what_is_here()
        on_wait = (lambda: None) if on_forward is None else partial(on_forward, False)
        self._decoding = Decoding(
            self._tokenizer, self._device, gpu_share=self._gpu_share, on_wait=on_wait
        )
        self._held_out: HeldOut | None = None
        self._reading: Reading | None = None

    def serve(self, model: ModelSpec, zero: ZeroSpec | None = None) -> None:
        """Take another base model in place of the resident; called on all ranks.

        The resident is given back first, so that one of them is in memory at a time.

        Raises:
            InputError: The model cannot be loaded.
        """
        zero = self._zero if zero is None else zero
        if model == self._spec and zero == self._zero:
            return
        self._decoding.close()
        del self._base, self._decoding, self._tokenizer, self._in_step, self._sharded
        self._held_out = self._reading = None
        let_go(self._device)
        self._load(model, zero)

    def run(
        self,
        spec: TrialSpec,
        decide: Decide,
        *,
        on_begin: OnBegin | None = None,
        on_step: OnStep | None = None,
        checkpoints: Checkpoints | None = None,
        start: Path | None = None,
        membership: Membership | None = None,
        into: Path | None = None,
    ) -> None:
        """Train and evaluate one trial, from its newest usable checkpoint on.

        Args:
            spec: The trial; its model is the resident's.
            decide: Called on every rank after each evaluation, with the report on rank 0 and None
                elsewhere; it returns the same on all ranks: to train on, to end there, or an
                `ExploitStep` for a member to copy another. Where the trial is resumed, the last
                report comes first once more.
            on_begin: Called before training with the steps that were done before and their number.
            on_step: Called after each optimiser step with the steps done and their number. It
                returns the same on all ranks, True for a checkpoint; one that is due at an
                evaluation is saved after it.
            checkpoints: Its checkpoints, on all ranks or on none; closed here.
            start: Folder of an adapter of the same shapes, whose values training starts from where
                there is no checkpoint yet; None for a fresh one.
            membership: Of a member of a population: where it copied others before, and from where
                it copies; None for any other trial.
            into: Folder that exists, into which rank 0 writes what was trained, as it was when it
                was last evaluated; None writes nothing.

        Raises:
            InputError: The task cannot be loaded, or the adapter does not fit the model.
            SweepError: What was trained cannot be written; on rank 0.
            TrialError: Training diverged, or a member's snapshot cannot be written or copied; on
                every rank; the resident stays usable.
            TrialInterruptedError: ``decide`` or ``on_step`` raised it, on every rank; where there
                are checkpoints, one was written.
            TrialStoppedError: ``on_step`` raised it, on every rank.
        """
        try:
            while True:
                copied = self._run(
                    spec, decide, on_begin, on_step, checkpoints, start, membership, into
                )
                if copied is None:
                    return
                assert membership is not None, "members alone copy others"
                membership = replace(membership, exploit_steps=(*membership.exploit_steps, copied))
        finally:
            if checkpoints is not None:
                checkpoints.close()

    def score(
        self,
        spec: TrialSpec,
        split: ScoredSplit,
        *,
        benchmarks: Collection[str] | None = None,
        saved: Path | None = None,
        with_text: bool = False,
    ) -> Scored:
        """Score the base model as it is, or what a trial has left, by the trial's protocol.

        Args:
            spec: The trial; its model is the resident's.
            split: Split of the examples.
            benchmarks: Names of some of the task's; None for all.
            saved: Folder that `run` wrote into, loaded as its users load it; None scores the base
                model.
            with_text: True to count prompts that are too long, and to measure the perplexity of the
                held-out text, too.

        Returns:
            What was found on rank 0; nothing elsewhere.

        Raises:
            InputError: The task cannot be loaded.
            ScoringError: A user's scorer cannot score the responses; on every rank.
        """
        assert spec.model == self._spec, "a resident serves trials of its own base model"
        reading = self._read(spec)
        task = reading.task
        if benchmarks is not None:
            task = task.only(benchmarks)
        choose_kernels(self._device, spec.training.determinism)
        evaluation = spec.evaluation.model_copy(update={"split": split})
        held_out = self._read_held_out(evaluation.held_out_text) if with_text else None
        adapter = None if saved is None else partial(_copy, saved)
        try:
            with as_loaded_by_users(self._base, spec, saved, self._sharded) as loaded:
                model, in_step = loaded.model, loaded.in_step or self._in_step
                longest = reading.lengths.longest
                what = Decoded(spec, model, reading.prompts, task, longest, adapter)
                found = self._validated(what, evaluation, held_out, in_step=in_step)
        finally:
            release(self._device)
        if found is None:
            return Scored()
        return Scored(found[1], {**found[0], **reading.left_out} if with_text else {})

    def data_digests(self, spec: TrialSpec) -> dict[str, str]:
        """Return the digests of the examples that a trial reads here, but for its test splits.

        Raises:
            InputError: The task cannot be loaded.
        """
        return self._read(spec).task.digests

    def require_services(self, spec: TrialSpec, place: str) -> None:
        """See that this node has what scores a trial's responses (see ``canary``).

        Raises:
            InputError: The sandbox or the judge cannot be reached from here.
        """
        require_services(spec, self._read(spec).task, place)

    def try_out(
        self, spec: TrialSpec, place: str, *, checkpoints: CheckpointPlace, into: Path | None
    ) -> None:
        """Do once what a trial does (see ``canary``); a collective.

        Args:
            spec: The trial; its model is the resident's.
            place: This worker, for messages.
            checkpoints: Place of a checkpoint, which is read back and removed.
            into: Folder for the trained files, which are the caller's; None but on rank 0.

        Raises:
            AgreedError: A user's scorer cannot score; on every rank.
            InputError: The task cannot be loaded.
            SweepError: The checkpoint or the files cannot be written; on every rank.
            TrialError: Training diverged; on every rank.
        """
        world_size = dist.get_world_size()
        reading = self._read(spec)
        self._read_held_out(spec.evaluation.held_out_text)
        little = in_little(spec, world_size)
        few = longest(reading, little, world_size)
        try:
            self._run(
                little,
                lambda _: Decision.END,
                on_step=lambda _step, _num_steps: True,
                checkpoints=CanaryCheckpoint(checkpoints),
                into=into,
                canary=few,
            )
        except ScoringError as error:
            problem = f"must score the model's responses: {error}; {place}"
            raise AgreedError.of(field_of_scorer(reading.task), problem) from error

    def _run(
        self,
        spec: TrialSpec,
        decide: Decide,
        on_begin: OnBegin | None = None,
        on_step: OnStep | None = None,
        checkpoints: KeepsCheckpoints | None = None,
        start: Path | None = None,
        membership: Membership | None = None,
        into: Path | None = None,
        canary: Reading | None = None,
    ) -> ExploitStep | None:
        """Train to the end, or to a member's next exploit step, which is returned.

        Another rate may mean other layers, so that an exploit step begins with a fresh adapter and
        engine.
        """
        exploit_steps = () if membership is None else membership.exploit_steps
        spec = spec_after(spec, exploit_steps)
        assert spec.model == self._spec, "a resident serves trials of its own base model"
        assert spec.training.zero == self._zero, "the base model is split as its trials want it"
        reading, held_out = canary, None
        if reading is None:
            reading = self._read(spec)
            held_out = self._read_held_out(spec.evaluation.held_out_text)
        # Before anything is trained: what cannot decode it.
        self._decoding.uses_vllm(spec)
        num_sequences = len(reading.data.sequences)
        template = reading.prompts.digest
        identity = identity_of(spec, num_sequences, exploit_steps, template=template)
        saved, decision = _resumed(checkpoints, identity, decide)
        if isinstance(decision, ExploitStep) and decision not in exploit_steps:
            return decision
        if saved is None and membership is not None and exploit_steps:
            saved = after_exploit(membership, spec, num_sequences, template=template)
        save_snapshot = None
        if membership is not None:
            shared = shared_identity(spec, num_sequences, template=template)
            save_snapshot = partial(membership.snapshots.save, shared)
        choose_kernels(self._device, spec.training.determinism)
        start_peak(self._device)
        adapted: Adapted
        is_full = not method_of(spec.adapter.method).has_rank
        if is_full and self._sharded is not None:
            adapted = ShardedFullModel(self._sharded)
        else:
            adapted = attach(self._base, spec.adapter, spec.seed)
        try:
            if saved is not None:
                adapted.resume(saved.facts)
            elif start is not None:
                adapted.start_from(start)
            adapted.note_start()
            self._decoding.prepare(self._decoded(spec, adapted, reading))
            if spec.training.gradient_checkpointing:
                self._base.activation_checkpointing_enable()
                # Its hook on the embeddings is for the reentrant kind, and would outlive the trial.
                self._base.disable_input_require_grads()
            with self._engine(spec, adapted) as engine:
                position = Position()
                if saved is not None:
                    position = saved.position
                    engine.load_state(saved.optimizer)
                    # Its tensors are in the engine now.
                    saved = None
                # Any token would do; of this one the model has an embedding.
                pad_id = self._tokenizer.eos_token_id
                loop = Loop(
                    adapted=adapted,
                    engine=engine,
                    data=reading.data,
                    spec=spec,
                    pad_token_id=pad_id,
                    device=self._device,
                )
                if on_begin is not None:
                    on_begin(position.step, loop.num_steps)
                trial_run = TrialRun(
                    adapted=adapted,
                    loop=loop,
                    engine=engine,
                    position=position,
                    num_evaluations=spec.evaluation.num_evaluations,
                    validate=partial(self._validate, spec, adapted, reading, held_out),
                    save=partial(checkpoints.save, identity) if checkpoints else None,
                    save_snapshot=save_snapshot,
                    left_out=reading.left_out,
                    in_step=self._in_step,
                    must_learn=canary is None,
                )
                if decision is not Decision.END:
                    exploit_step = trial_run.run(decide, on_step)
                    if exploit_step is not None:
                        return exploit_step
            self._save(adapted, spec, into)
            return None
        finally:
            if spec.training.gradient_checkpointing:
                self._base.activation_checkpointing_disable()
            adapted.detach()
            del adapted
            release(self._device)

    def _engine(
        self, spec: TrialSpec, adapted: Adapted
    ) -> contextlib.AbstractContextManager[TrialEngine]:
        if isinstance(adapted, ShardedFullModel):
            assert self._sharded is not None, "it is the resident"
            return contextlib.closing(ShardedEngine(self._sharded, spec.training))
        shares_base = method_of(spec.adapter.method).starts_from_base
        return started_engine(adapted.model, spec.training, self._device, shares_base=shares_base)

    def _read(self, spec: TrialSpec) -> Reading:
        """The task and its tokens, kept for the next trial of the same task."""
        if self._reading is None or self._reading.key != key_of(spec):
            num_embedded = num_embedded_tokens(self._base)
            self._reading = read(
                spec, self._tokenizer, model_context(self._base), num_embedded, self._reading
            )
        return self._reading

    def _read_held_out(self, path: str | None) -> HeldOut | None:
        """The held-out text with the base model's perplexity, which is measured once."""
        if path is None:
            return None
        if self._held_out is None or self._held_out.path != path:
            self._held_out = read_before(path, self._base, self._tokenizer, self._in_step)
        return self._held_out

    def _validate(
        self, spec: TrialSpec, adapted: Adapted, reading: Reading, held_out: HeldOut | None
    ) -> tuple[dict[str, float], list[ExampleResult]] | None:
        """See ``validate``."""
        return self._validated(self._decoded(spec, adapted, reading), spec.evaluation, held_out)

    def _decoded(self, spec: TrialSpec, adapted: Adapted, reading: Reading) -> Decoded:
        return Decoded(
            spec,
            adapted.model,
            reading.prompts,
            reading.task,
            reading.lengths.longest,
            lambda folder: adapted.save(folder, spec),
        )

    def _validated(
        self,
        what: Decoded,
        evaluation: EvaluationSpec,
        held_out: HeldOut | None = None,
        in_step: InStep | None = None,
    ) -> tuple[dict[str, float], list[ExampleResult]] | None:
        """See ``validate``; decoded as the trial asks for."""
        with self._decoding.generator(what) as generator:
            found = validate(
                what.model,
                self._tokenizer,
                what.task,
                evaluation,
                self._device,
                held_out=held_out,
                generator=generator,
                in_step=in_step or self._in_step,
            )
            decoded_by = self._decoding.metrics(generator)
        return None if found is None else ({**found[0], **decoded_by}, found[1])

    def _save(self, adapted: Adapted, spec: TrialSpec, into: Path | None) -> None:
        """Write what was trained on rank 0, where it has a folder; called on all ranks.

        A whole model has its tokenizer beside it, so that it loads by itself.

        Raises:
            SweepError: The file system refuses; on every rank.
        """
        folder = into if dist.get_rank() == 0 else None
        if not share_from_first(folder is not None):
            return
        if isinstance(adapted, ShardedFullModel):
            adapted.gather_weights()
        problem = None
        if folder is not None:
            try:
                with disk_faults_named(folder):
                    adapted.save(folder, spec)
                    if not method_of(spec.adapter.method).has_rank:
                        self._tokenizer.save_pretrained(folder)
            except SweepError as error:
                problem = str(error)
        if (problem := share_from_first(problem)) is not None:
            raise SweepError(problem)


def _copy(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)


def _resumed(
    checkpoints: KeepsCheckpoints | None, identity: str, decide: Decide
) -> tuple[Checkpoint | None, Decision | ExploitStep]:
    """Return the checkpoint to resume from, and the decision on its last report.

    The decision on its last report is asked for again: who decides may have been lost meanwhile, or
    may not have decided. A checkpoint further on than where the trial is to end is of no use.
    """
    for checkpoint in checkpoints.usable(identity) if checkpoints else ():
        position = checkpoint.position
        if not position.evaluation:
            return checkpoint, Decision.GO_ON
        decision = decide(position.report)
        if decision is not Decision.END or position.is_at_report:
            return checkpoint, decision
    return None, Decision.GO_ON
