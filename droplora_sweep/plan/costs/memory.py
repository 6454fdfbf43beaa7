"""Memory of one GPU while a trial trains and is evaluated, part by part, from its spec alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.adapters.sizes import num_trainable_parameters
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.trial import PAD_MULTIPLE

from .activations import FP32_BYTES, kept_per_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.models.inspecting import Dimensions
    from droplora_sweep.spec import TrialSpec

GIB: Final = 2**30
NUMBER_BYTES: Final = {"float32": 4, "bfloat16": 2}

_LAYER = re.compile(r"^.*?\.\d+\.")

NF4_BYTES: Final = 0.5 + (1 + FP32_BYTES / 256) / 64
"""A number in 4 bits with doubly quantised constants: per block of 64 a byte, per 256 blocks an
fp32 (arXiv 2305.14314, section 3: 4.127 bits)."""

RESERVE_BYTES: Final = 1 * GIB
"""CUDA's context, NCCL's buffers and what the allocator cannot use; an assumption."""

MAX_BUCKET_NUMBERS: Final = 50_000_000
"""DeepSpeed's reduction buffer, as `training.engine` sets it."""

ADAM_NUMBERS: Final = 3
"""fp32 numbers per trained one: a master copy and AdamW's two moments (arXiv 1910.02054: K = 12
bytes)."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one GPU. Training and decoding do not overlap; the rest is there all the time.

    Attributes:
        weights: The base model.
        adapter: Trained weights, in the trial's precision; all weights of a full model.
        gradients: This worker's partition in fp32, if it is not in the CPU's memory, and the buffer
            they are reduced in.
        optimizer: This worker's partition of fp32 weights and moments.
        activations: Kept for the backward pass.
        logits: Logits of every token, with their log-probabilities and gradients.
        update: Temporaries of the optimiser's update, as far as they are more than activations and
            logits, which are gone by then.
        decoding: The KV cache of an evaluation's largest batch.
        gathered: Base weights of other workers that are whole at once; none before stage 3.
        in_cpu: This worker's part of what is kept in the CPU's memory, which is no part of a GPU's.
        reserve: ``RESERVE_BYTES``; none on a CPU.
        server: vLLM's process while it decodes (see `costs.serving`); 0 where it does not.
        server_at_rest: The same while a trial trains.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    decoding: int
    reserve: int
    update: int = 0
    server: int = 0
    server_at_rest: int = 0
    gathered: int = 0
    in_cpu: int = 0

    @property
    def training(self) -> int:
        """Most bytes while training."""
        moving = self.activations + self.logits + self.update
        return self.resident + moving + self.server_at_rest

    @property
    def evaluation(self) -> int:
        """Most bytes while decoding, when the optimiser stays where it is.

        Transformers decodes where vLLM has failed and is gone.
        """
        return self.resident + max(self.decoding, self.server)

    @property
    def peak(self) -> int:
        """Most bytes at once."""
        return max(self.training, self.evaluation)

    @property
    def largest_part(self) -> str:
        """Name of the largest part of the peak."""
        moving: tuple[str, ...] = ("activations", "logits", "update", "server_at_rest")
        if self.training < self.evaluation:
            moving = ("decoding", "server")
        parts = ("weights", "gathered", "adapter", "gradients", "optimizer", *moving)
        return max(parts, key=lambda name: int(getattr(self, name)))

    @property
    def resident(self) -> int:
        """Bytes that are there all the time, whatever is in a batch."""
        weights = self.weights + self.gathered + self.adapter
        return weights + self.gradients + self.optimizer + self.reserve


ADAM_8BIT_BYTES: Final = FP32_BYTES + 2 * (1 + FP32_BYTES / 256)
"""Bytes per trained number of AdamW in 8 bits: the master copy, and two moments of a byte with an
fp32 scale for 256 of them."""


def training_memory(
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Dimensions,
    trial: TrialSpec,
    *,
    num_workers: int,
    zero_stage: int | None = None,
    on_gpu: bool = True,
) -> Memory:
    """Return an upper bound of one worker's memory: every sequence is as long as it may be.

    AdamW's update makes the root of its second moments beside them (torch's, tensor by tensor on a
    CPU, makes two such temporaries), and DeepSpeed a flat copy of a worker's gradients before it.

    Args:
        shapes: Name of each tensor of the base model to its shape.
        dimensions: Sizes of the same model.
        trial: The trial.
        num_workers: Workers that ZeRO splits its state over.
        zero_stage: 0 to 3 (arXiv 1910.02054): 1 splits the optimiser, 2 gradients too, 3 the base
            weights, or those of a full model, too. The trial's where None.
        on_gpu: Counts dropout masks of one byte, and ``RESERVE_BYTES``.
    """
    number_bytes = NUMBER_BYTES[trial.model.dtype]
    num_trained = num_trainable_parameters(shapes, trial.adapter)
    is_full = not method_of(trial.adapter.method).has_rank
    weights = 0 if is_full else weight_bytes(shapes, trial.model.dtype, trial.model.quantization)
    adapter = number_bytes * num_trained
    stage = trial.training.zero.stage if zero_stage is None else zero_stage
    gathered = 0
    if stage >= 3:
        weights, gathered = math.ceil(weights / num_workers), gathered_bytes(shapes, number_bytes)
        adapter = math.ceil(adapter / num_workers) if is_full else adapter
    bucket = FP32_BYTES * min(MAX_BUCKET_NUMBERS, num_trained)
    if stage >= 3 and is_full:
        # A layer's gradients in the trial's precision, and once more to be added up in fp32.
        bucket = math.ceil(gathered / number_bytes) * (number_bytes + FP32_BYTES)
    gradients = _split(FP32_BYTES * num_trained, num_workers, stage >= 2)
    optimizer = _split(_optimizer_bytes(trial, num_trained), num_workers, stage >= 1)
    update = _split((1 if on_gpu else 2) * FP32_BYTES * num_trained, num_workers, stage >= 1)
    in_cpu = 0
    if on_gpu and trial.training.zero.offload == "cpu":
        in_cpu, gradients, optimizer, update = gradients + optimizer, 0, 0, 0
        if stage >= 3:
            in_cpu, weights = in_cpu + weights, 0
            if is_full:
                in_cpu, adapter = in_cpu + adapter, 0
    activations = activation_bytes(dimensions, trial, on_gpu=on_gpu)
    logits = logit_bytes(dimensions, trial)
    return Memory(
        weights=weights,
        gathered=gathered,
        in_cpu=in_cpu,
        adapter=adapter,
        gradients=gradients + bucket,
        optimizer=optimizer,
        activations=activations,
        logits=logits,
        update=max(0, update - activations - logits),
        decoding=kv_cache_bytes(dimensions, trial),
        reserve=RESERVE_BYTES if on_gpu else 0,
    )


def weight_bytes(
    shapes: Mapping[str, tuple[int, ...]], dtype: str, quantization: str = "none"
) -> int:
    """Return the bytes of the base model's weights.

    In 4 bits a linear layer's number takes ``NF4_BYTES``; in 8 bits one byte, and each output an
    fp32 scale (arXiv 2208.07339). Embeddings, norms and the output layer keep their precision.

    Args:
        shapes: Name of each tensor to its shape.
        dtype: ``float32`` or ``bfloat16``.
        quantization: ``none``, ``4bit`` or ``8bit``.
    """
    total = 0.0
    for name, shape in shapes.items():
        count = math.prod(shape)
        is_linear = len(shape) == 2 and ".layers." in name
        if quantization == "4bit" and is_linear:
            total += NF4_BYTES * count
        elif quantization == "8bit" and is_linear:
            total += count + FP32_BYTES * shape[0]
        else:
            total += NUMBER_BYTES[dtype] * count
    return math.ceil(total)


def activation_bytes(dimensions: Dimensions, trial: TrialSpec, *, on_gpu: bool = True) -> int:
    """Return the bytes that autograd keeps of a micro-batch.

    With gradient checkpointing every layer keeps its input alone, and the one that is computed
    again all of its own (arXiv 1604.06174).
    """
    training = trial.training
    b = NUMBER_BYTES[trial.model.dtype]
    kept = kept_per_token(dimensions, trial.adapter, b, on_gpu=on_gpu)
    per_token = kept.all_layers
    if training.gradient_checkpointing:
        per_token = dimensions.num_layers * kept.layer_input + kept.per_layer
    num_tokens = training.sequences_at_once * _padded(training.max_sequence_tokens)
    if training.micro_batch_tokens is not None:
        num_tokens = min(num_tokens, training.micro_batch_tokens)
    return num_tokens * (per_token + kept.last_norm)


def logit_bytes(dimensions: Dimensions, trial: TrialSpec) -> int:
    """Return the bytes of a micro-batch's logits if nearly all is response: V (2 b + 8) a token.

    Logits and their gradient in the trial's precision; log-probabilities and their gradient in
    fp32.
    """
    training = trial.training
    b = NUMBER_BYTES[trial.model.dtype]
    num_tokens = training.sequences_at_once * training.max_sequence_tokens
    if training.micro_batch_tokens is not None:
        num_tokens = min(num_tokens, training.micro_batch_tokens)
    return num_tokens * dimensions.vocabulary * (2 * b + 2 * FP32_BYTES)


def kv_cache_bytes(dimensions: Dimensions, trial: TrialSpec) -> int:
    """Return the bytes of keys and values of a decoding batch with the longest sequences.

    ``2 b L kv_width`` per token (the model's context is the most tokens there are of a sequence).
    """
    evaluation = trial.evaluation
    length = trial.training.max_sequence_tokens + evaluation.max_new_tokens
    if dimensions.context_tokens is not None:
        length = min(length, dimensions.context_tokens)
    num_tokens = evaluation.batch_size * length
    if evaluation.max_batch_tokens is not None:
        num_tokens = min(num_tokens, max(evaluation.max_batch_tokens, length))
    b = NUMBER_BYTES[trial.model.dtype]
    return num_tokens * 2 * b * dimensions.num_layers * dimensions.kv_width


def _optimizer_bytes(trial: TrialSpec, num_trained: int) -> int:
    if trial.training.optimizer == "adamw_8bit":
        return math.ceil(ADAM_8BIT_BYTES * num_trained)
    return ADAM_NUMBERS * FP32_BYTES * num_trained


def gathered_bytes(shapes: Mapping[str, tuple[int, ...]], number_bytes: int) -> int:
    """Return the bytes of the two largest of what is gathered at once: layers, or an embedding."""
    sizes: Counter[str] = Counter()
    for name, shape in shapes.items():
        layer = _LAYER.match(name)
        sizes[layer[0] if layer else name] += number_bytes * math.prod(shape)
    return sum(size for _, size in sizes.most_common(2))


def _split(num_bytes: int, num_workers: int, is_split: bool) -> int:
    return math.ceil(num_bytes / num_workers) if is_split else num_bytes


def _padded(num_tokens: int) -> int:
    """As batches are padded."""
    return -(-num_tokens // PAD_MULTIPLE) * PAD_MULTIPLE
