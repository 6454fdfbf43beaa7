"""A trial's DeepSpeed ZeRO-2 engine over an adapted model, and AdamW's state in it by name.

ZeRO-2 lays all weights of a parameter group end to end, in the group's order, pads them and cuts
them into one part of equal length per rank. Here the parts are put together and cut again, in
three collectives per group; DeepSpeed's own access by parameter needs three for each, and
adds zeros up, which loses the sign of a zero.
"""

from __future__ import annotations

import contextlib
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from transformers.trainer_pt_utils import get_parameter_names

from droplora_sweep import private_api
from droplora_sweep.adapters.tensor_files import Buffer, padded

from .device import import_deepspeed, release
from .optimizers import MOMENTS, make_optimizer, read_moments, write_moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Shapes = Mapping[str, torch.Size]
    from collections.abc import Iterator

    from droplora_sweep.spec.trial import TrainingSpec


_CHUNK_ELEMENTS = 1_000_000
"""At most this many of each rank's numbers are on the way at once: gloo and the memory allocator
keep some of what larger ones, or buffers of their own for each, took (219 and 172 MB)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimizerState:
    """Trained weights, and AdamW's state of them.

    Attributes:
        weights: fp32 master copies by parameter name, on the CPU; where they are large, a file is
            behind their memory.
        exp_avg: AdamW's first moments, likewise.
        exp_avg_sq: Its second moments, likewise.
        num_updates: Its step count.
    """

    weights: Mapping[str, torch.Tensor]
    exp_avg: Mapping[str, torch.Tensor]
    exp_avg_sq: Mapping[str, torch.Tensor]
    num_updates: int


def gather_state(zero: Any, groups: Sequence[Shapes]) -> OptimizerState | None:
    """A copy of the state, on rank 0; None elsewhere. A collective.

    Args:
        zero: DeepSpeed's ZeRO-2 optimiser, after at least one step.
        groups: Shapes of each group's trained parameters, by name, in the group's order.
    """
    weights: dict[str, torch.Tensor] = {}
    exp_avg: dict[str, torch.Tensor] = {}
    exp_avg_sq: dict[str, torch.Tensor] = {}
    num_updates = 0
    parts, copies = private_api.zero_partitions(zero)
    device = copies[0][0].device
    num_ranks, is_first = dist.get_world_size(), dist.get_rank() == 0
    sizes = (num_ranks * part.numel() * part.element_size() for part in parts)
    buffer = Buffer(3 * sum(map(padded, sizes))) if is_first else None
    for part, shapes in zip(parts, groups, strict=True):
        state = zero.optimizer.state[part]
        num_updates = int(state["step"])
        whole = (part.detach(), *read_moments(state))
        for tensor, into in zip(whole, (weights, exp_avg, exp_avg_sq), strict=True):
            flat = gathered(tensor, device, buffer)
            if flat is not None:
                into |= split(flat, shapes)
    if dist.get_rank() != 0:
        return None
    return OptimizerState(
        weights=weights, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq, num_updates=num_updates
    )


def scatter_state(zero: Any, groups: Sequence[Shapes], saved: OptimizerState | None) -> None:
    """Make a fresh engine's weights and optimiser what was saved. A collective.

    Args:
        zero: DeepSpeed's ZeRO-2 optimiser.
        groups: Shapes of each group's trained parameters, by name, in the group's order; the
            saved ones may have been in other groups.
        saved: On rank 0; None elsewhere.
    """
    parts, copies = private_api.zero_partitions(zero)
    device = copies[0][0].device
    count = torch.tensor([saved.num_updates if saved else 0], device=device)
    dist.broadcast(count, src=0)
    for index, (part, model_parts, shapes) in enumerate(zip(parts, copies, groups, strict=True)):
        moments = {name: torch.zeros_like(part) for name in MOMENTS}
        scatter(part.data, saved.weights if saved else None, shapes, device)
        for name, moment in moments.items():
            scatter(moment, getattr(saved, name) if saved else None, shapes, device)
        write_moments(zero.optimizer, index, int(count.item()), tuple(moments.values()))
        model_parts[dist.get_rank()].copy_(part.data)
        for rank, model_part in enumerate(model_parts):
            dist.broadcast(model_part, src=rank)


def gathered(
    part_N: torch.Tensor, device: torch.device, buffer: Buffer | None = None
) -> torch.Tensor | None:
    """All ranks' parts end to end, on rank 0 and on the CPU; None elsewhere.

    Args:
        part_N: This rank's, there or in the CPU's memory.
        device: Device whose memory collectives read.
        buffer: Memory for it; ordinary memory where None.
    """
    shape, whole_RN = torch.Size((dist.get_world_size(), part_N.numel())), None
    if dist.get_rank() == 0:
        if buffer is None:
            whole_RN = torch.empty(shape, dtype=part_N.dtype)
        else:
            whole_RN = buffer.take(shape, part_N.dtype)
    buffers = None if whole_RN is None else _buffers(part_N, device)
    for start in range(0, part_N.numel(), _CHUNK_ELEMENTS):
        chunk = part_N[start : start + _CHUNK_ELEMENTS].to(device)
        pieces = None if buffers is None else [each[: chunk.numel()] for each in buffers]
        dist.gather(chunk, pieces)
        if whole_RN is not None and pieces is not None:
            for row, piece in zip(whole_RN, pieces, strict=True):
                row[start : start + _CHUNK_ELEMENTS].copy_(piece)
    return None if whole_RN is None else whole_RN.flatten()


def _buffers(part_N: torch.Tensor, device: torch.device) -> list[torch.Tensor]:
    """Return a buffer for a chunk of each rank's part."""
    size = min(part_N.numel(), _CHUNK_ELEMENTS)
    return [part_N.new_empty(size, device=device) for _ in range(dist.get_world_size())]


def split(flat: torch.Tensor, shapes: Shapes) -> dict[str, torch.Tensor]:
    lengths = [shape.numel() for shape in shapes.values()]
    pieces = flat[: sum(lengths)].split(lengths)
    return {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}


def scatter(
    part_N: torch.Tensor,
    saved: Mapping[str, torch.Tensor] | None,
    shapes: Shapes,
    device: torch.device,
) -> None:
    """Cut rank 0's tensors, laid end to end and padded with zeros, into the ranks' parts."""
    flat = None if saved is None else [saved[name].flatten() for name in shapes]
    buffers = None if flat is None else _buffers(part_N, device)
    for start in range(0, part_N.numel(), _CHUNK_ELEMENTS):
        chunk = part_N[start : start + _CHUNK_ELEMENTS]
        received = torch.empty_like(chunk, device=device)
        pieces = None
        if flat is not None and buffers is not None:
            pieces = [each[: chunk.numel()] for each in buffers]
            for rank, piece in enumerate(pieces):
                begin = rank * part_N.numel() + start
                piece.copy_(_between(flat, begin, begin + chunk.numel()))
        dist.scatter(received, pieces)
        chunk.copy_(received)


def _between(flat: Sequence[torch.Tensor], begin: int, end: int) -> torch.Tensor:
    """Return some numbers of tensors that are laid end to end, with zeros behind the last."""
    found, at = [], 0
    for tensor in flat:
        if at < end and at + tensor.numel() > begin:
            found.append(tensor[max(0, begin - at) : end - at])
        at += tensor.numel()
    num_padding = end - begin - sum(each.numel() for each in found)
    return torch.cat([*found, flat[0].new_zeros(num_padding)])


UNDECAYED = (r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)")
"""Patterns of transformers' Trainer for what has no weight decay."""

# DeepSpeed allocates its reduction buffer in full at the start; larger adapters go in pieces.
_MAX_BUCKET_ELEMENTS = 50_000_000


RATIO = "learning_rate_ratio"
"""Key of a parameter group: its learning rate over the trial's."""


def parameter_groups(
    model: nn.Module, weight_decay: float, lora_plus_ratio: float = 1.0
) -> list[dict[str, Any]]:
    """Return the parameter groups of AdamW: biases and norms without decay, as in Trainer.

    With a ratio of learning rates (LoRA+, arXiv 2402.12354), each is split in two: what has the
    trial's learning rate, and what has that times the ratio.

    Returns:
        Groups with at least one trainable weight, as ``torch.optim`` takes them; each names its
        weights in ``names``, in the model's order.
    """
    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(UNDECAYED)))
    trainable = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    fast = {name for name, one in trainable if lora_plus_ratio != 1 and _follows_b(name, one)}
    groups = []
    for is_decayed, is_fast in ((True, False), (True, True), (False, False), (False, True)):
        members = [
            (name, weight)
            for name, weight in trainable
            if (name in decayed) == is_decayed and (name in fast) == is_fast
        ]
        group: dict[str, Any] = {
            "params": [weight for _, weight in members],
            "names": [name for name, _ in members],
            "weight_decay": weight_decay if is_decayed else 0.0,
            RATIO: lora_plus_ratio if is_fast else 1.0,
        }
        groups.append(group)
    return [group for group in groups if group["params"]]


def _follows_b(name: str, weight: torch.Tensor) -> bool:
    """Return True for B, and as in PEFT's LoRA+ for vectors: magnitudes, norms and biases.

    A learned mask's gate, which PEFT does not know, belongs to A. B of an embedding, for which
    PEFT takes a rate of its own, is a B here.
    """
    if ".lora_gate." in name:
        return False
    return ".lora_B." in name or ".lora_embedding_B." in name or weight.ndim == 1


def engine_config(
    training: TrainingSpec, dtype: torch.dtype, num_trainable: int, *, on_gpu: bool = False
) -> dict[str, Any]:
    """DeepSpeed's configuration of a trial.

    * Gradients are *summed* over ranks: each rank's loss is already divided by the global batch's
      response tokens.
    * Accumulation is ours (``managed_gradient_accumulation: false``): every micro-batch is
      reduced into an fp32 partition, and `step` ends the batch, however many there were.
    * With bfloat16 weights, the optimiser holds fp32 master copies and moments.

    Args:
        training: Micro-batch size and clipping.
        dtype: Of the weights.
        num_trainable: Numbers the adapter trains: the size of the reduction buffer.
        on_gpu: True where what is kept in the CPU's memory goes to a GPU, and is pinned.
    """
    # Even, as DeepSpeed's alignment asks.
    bucket = min(_MAX_BUCKET_ELEMENTS, num_trainable + num_trainable % 2)
    return {
        "train_micro_batch_size_per_gpu": training.sequences_at_once,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_allreduce_op": "sum",
        "gradient_clipping": training.max_grad_norm,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "zero_optimization": {
            # What stage 3 splits is no concern of this engine's: a frozen base, or all that
            # `sharded_full` trains.
            "stage": 2,
            "offload_optimizer": {
                "device": training.zero.offload,
                "pin_memory": training.zero.offload == "cpu" and on_gpu,
            },
            "overlap_comm": False,
            "contiguous_gradients": True,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        },
        # An optimiser that DeepSpeed did not make, as torch's AdamW; its own is compiled.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    }


class TrialEngine(Protocol):
    """Engine that a trial trains with: DeepSpeed's, or that of a split model (`sharded_full`)."""

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add one micro-batch's gradient, summed over ranks, to the step's; a collective."""

    def step(self, learning_rate: float) -> float:
        """Clip, update the weights and forget the gradient; return the gradient's norm."""

    def state(self) -> OptimizerState | None:
        """A copy of weights and AdamW's state, on rank 0; a collective, after a step."""

    def load_state(self, saved: OptimizerState | None) -> None:
        """Go on from what `state` gave, be it of another number of ranks; a collective."""

    def reopened(self) -> contextlib.AbstractContextManager[None]:
        """Within it the model can be given other trainable weights; then AdamW starts afresh."""

    def close(self) -> None:
        """Leave an ordinary model behind."""


class Engine:
    """DeepSpeed engine, as far as the training loop needs it.

    Args:
        model: On ``device``, with some trainable weights.
        training: AdamW's settings; the learning rate is given at each step.
        device: Device that it trains on.
        shares_base: Rank 0 gives its frozen weights to all ranks, as it does what is trained: for
            methods that compute them. Others have them of the same files.
    """

    def __init__(
        self,
        model: nn.Module,
        training: TrainingSpec,
        device: torch.device,
        *,
        shares_base: bool = False,
    ) -> None:
        self._model = model
        self._shares_base = shares_base
        self._training = training
        self._device = device
        self._engine: Any = self._start()

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""
        return self._engine(**inputs)

    def backward(self, loss: torch.Tensor) -> None:
        """Add one micro-batch's gradient, summed over ranks, to the step's; a collective."""
        self._engine.backward(loss, scale_wrt_gas=False)

    def step(self, learning_rate: float) -> float:
        """Clip, update the weights and forget the gradient.

        Args:
            learning_rate: Of all groups but those with a ratio of their own.

        Returns:
            Norm of the whole gradient before clipping; the same on every rank.
        """
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate * group[RATIO]
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def state(self) -> OptimizerState | None:
        """A copy of weights and AdamW's state, on rank 0; a collective, after a step."""
        return gather_state(self._engine.optimizer, self._shapes)

    def load_state(self, saved: OptimizerState | None) -> None:
        """Go on from what `state` gave, be it of another number of ranks; a collective.

        Args:
            saved: On rank 0, of the same weights; None elsewhere.
        """
        scatter_state(self._engine.optimizer, self._shapes, saved)

    @contextlib.contextmanager
    def reopened(self) -> Iterator[None]:
        """Within it the model can be given other trainable weights; then AdamW starts afresh."""
        self.close()
        # Its state is a web of reference cycles, and would be there beside the next one's.
        self._engine = None
        release(self._device)
        yield
        self._engine = self._start()

    def close(self) -> None:
        """Leave an ordinary model behind."""
        if self._engine is None:
            return
        # They would keep it, and all of its optimiser's state, as long as the model they are on:
        # with all weights trained, the base model of every later trial.
        self._engine.module_forward_pre_hook.remove()
        self._engine.module_forward_post_hook.remove()
        self._engine.destroy()

    def _start(self) -> Any:
        deepspeed = import_deepspeed(self._device)
        groups = parameter_groups(
            self._model, self._training.weight_decay, self._training.lora_plus_ratio
        )
        self._shapes = [
            {name: one.shape for name, one in zip(group.pop("names"), group["params"], strict=True)}
            for group in groups
        ]
        trainable = [weight for group in groups for weight in group["params"]]
        num_trainable = sum(weight.numel() for weight in trainable)
        optimizer = make_optimizer(self._training, groups)
        whole = contextlib.nullcontext()
        stay = whole if self._shares_base else private_api.frozen_weights_stay(self._model)
        with stay:
            engine, *_ = deepspeed.initialize(
                # Else it takes LOCAL_RANK for the GPU, also where a worker sees its own GPU alone.
                args=Namespace(device_rank=self._device.index or 0),
                model=self._model,
                optimizer=optimizer,
                config=engine_config(
                    self._training,
                    trainable[0].dtype,
                    num_trainable,
                    on_gpu=self._device.type == "cuda",
                ),
            )
        return engine


@contextlib.contextmanager
def started_engine(
    model: nn.Module, training: TrainingSpec, device: torch.device, *, shares_base: bool = False
) -> Iterator[Engine]:
    """An engine over the model's trainable weights, which are an ordinary model's afterwards."""
    engine = Engine(model, training, device, shares_base=shares_base)
    try:
        yield engine
    finally:
        engine.close()
