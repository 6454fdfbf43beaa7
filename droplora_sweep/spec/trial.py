"""One trial: everything that changes its result, and nothing else; its fingerprint."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field

from droplora_sweep import __version__

from .adapter import AdapterSpec
from .base import Count, PathText, Positive, SpecModel
from .evaluation import EvaluationSpec as EvaluationSpec
from .task import Name as Name
from .task import TaskSpec as TaskSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .adapter import AdapterStart


WARMUP_RATIO = 0.03
"""Of arXiv 2508.17337: its trainer warms up for 100 steps, and its commonsense runs, three epochs
over 147,600 examples in batches of 128, have 3,462."""


PAD_MULTIPLE: Final = 8
"""Sequences are padded to a multiple of this many tokens, which matrix units like."""
BUILTIN: Final = "builtin"
"""Path of the small Llama in this package."""


class ModelSpec(SpecModel):
    """The frozen base model that all trials of a sweep share."""

    path: PathText = BUILTIN
    """``builtin`` (the small Llama in this package), a local folder, or a Hub id."""
    revision: str | None = None
    """Commit of a Hub id; required for one, so that the sweep can be repeated."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of base weights and of training. ``auto``, and where it is left out in a sweep:
    ``bfloat16`` on GPUs, but for the built-in model, and ``float32`` on CPUs."""
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "auto"
    """Implementation of attention in transformers; ``auto`` is what that takes for the model, as a
    rule ``sdpa``. ``flash_attention_2`` needs the package flash-attn, a GPU and ``bfloat16``."""
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """Store the base weights in 4 or 8 bits (bitsandbytes); needs the extra ``quantization``."""
    trust_remote_code: bool = False
    """Run Python code from the model's folder or repository, with the rights of the sweep."""

    def canonical(self) -> dict[str, Any]:
        """Its fields as JSON, without later ones at their defaults."""
        return self.model_dump(mode="json", exclude=unchanged(self))


class ZeroSpec(SpecModel):
    """Parts that the workers of a group split among them, for models that do not fit on each."""

    stage: Literal[2, 3] = 2
    """2 splits gradients and optimiser (ZeRO, arXiv 1910.02054); 3 also the base weights, which
    every layer gathers when it computes: less memory, more traffic between workers, the same
    numbers."""
    offload: Literal["none", "cpu"] = "none"
    """``cpu`` keeps gradients and optimiser in the CPU's memory, where AdamW then computes, and
    with ``stage: 3`` each worker's part of the base weights too."""


AUTO_MICRO_BATCH: Final = "auto"
"""Value of ``training.micro_batch_size`` that is chosen as the sweep begins."""


class TrainingSpec(SpecModel):
    """Optimisation; defaults from arXiv 2508.17337, Table 7, and its released trainer."""

    learning_rate: Positive = 3e-4
    """Peak learning rate of AdamW."""
    epochs: Count = 3
    """Passes over the training data."""
    global_batch_size: Count = 128
    """Sequences per optimiser step, over all workers and micro-batches."""
    micro_batch_size: Count | Literal["auto"] = 32
    """Sequences per forward pass of one worker, at most; changes speed and memory, not the
    gradient. ``auto`` is the largest power of two that fits by the plan's count of memory into the
    GPUs that the sweep begins on, and 8 on CPUs; a sweep that is resumed keeps it."""
    micro_batch_tokens: Count | None = None
    """Tokens of the same, padding included, at most; null: as many as the sequences have. With a
    high ``micro_batch_size`` short examples go together in numbers and long ones alone, in the
    memory of so many tokens. At least ``max_sequence_tokens``, rounded up to a multiple of 8."""
    warmup_ratio: float = Field(default=WARMUP_RATIO, ge=0, lt=1)
    """Share of a trial's steps that warm up linearly, rounded up; then the learning rate follows
    its schedule. The default is the paper's: 100 of 3,462 steps."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """So many steps warm up, whatever the trial's length, instead of ``warmup_ratio``; at most all
    steps but the last, which has the peak learning rate then."""
    learning_rate_schedule: Literal["linear", "constant", "cosine"] = "linear"
    """After the warmup: decay to zero, ``linear`` (the paper's) or along half a ``cosine``, or the
    peak to the end (``constant``)."""
    lora_plus_ratio: Positive = 1.0
    """Learning rate of the adapter's B over that of its A, which is ``learning_rate`` (LoRA+, arXiv
    2402.12354, which takes 16 for large models); 1: the same. As in PEFT, DoRA's magnitudes follow
    B."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """``adamw``, or with its two moments in 8 bits (bitsandbytes, arXiv 2110.02861): 6 bytes less
    for each trained number; needs the extra ``quantization``."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW's decoupled weight decay."""
    max_grad_norm: Positive = 1.0
    """Gradients are clipped to this norm (the trainer's default)."""
    max_sequence_tokens: Count = 512
    """Longer training examples (prompt, response and EOS) are left out, and counted."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    zero: ZeroSpec = ZeroSpec()
    determinism: Literal["strict", "seeded", "off"] = "seeded"
    """Kernels on GPUs; on CPUs all are bit for bit. ``strict``: the same trial gives the same
    bytes, at the speed of deterministic kernels; ``seeded``: the same draws and data, with fast
    kernels that may round otherwise each time; ``off``: also TensorFloat-32 for what is float32,
    and kernels by trial."""

    @property
    def sequences_at_once(self) -> int:
        """``micro_batch_size``; 1 while that is ``auto`` and not chosen yet."""
        return 1 if isinstance(self.micro_batch_size, str) else self.micro_batch_size

    def canonical(self) -> dict[str, Any]:
        """Its fields as JSON, without the length of the warmup that does not count."""
        unused = "warmup_steps" if self.warmup_steps is None else "warmup_ratio"
        return self.model_dump(mode="json", exclude={unused, *unchanged(self)})


LATER_FIELDS: Mapping[type[SpecModel], tuple[str, ...]] = {
    AdapterSpec: ("layers", "module_ranks", "module_alphas", "modules_to_save"),
    ModelSpec: ("attention",),
    TrainingSpec: (
        "learning_rate_schedule",
        "lora_plus_ratio",
        "optimizer",
        "determinism",
        "micro_batch_tokens",
        "zero",
    ),
}
"""Fields that sections were given after their trials had been recorded and fingerprinted."""


def unchanged(section: SpecModel) -> set[str]:
    """Return the later fields of a section that are at their defaults.

    Left out of what a trial is known by, they leave its fingerprint and the identity of its
    checkpoints what they were before there were such fields.
    """
    fields = type(section).model_fields
    return {
        name
        for name in LATER_FIELDS.get(type(section), ())
        if getattr(section, name) == fields[name].get_default(call_default_factory=True)
    }


class TrialSpec(SpecModel):
    """One trial. Two trials with the same fingerprint are the same trial."""

    model: ModelSpec = ModelSpec()
    adapter: AdapterSpec = AdapterSpec()
    task: TaskSpec = TaskSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    seed: int = Field(default=42, ge=0, lt=2**31)
    """Seeds adapter initialisation, masks, dropout and data order (the paper's: 42)."""

    def with_alpha(self) -> Self:
        """The same trial with a number for ``adapter.alpha``."""
        return self.model_copy(update={"adapter": self.adapter.with_alpha()})


PACKAGES = ("torch", "transformers", "peft", "deepspeed")
"""The packages, beside this one, whose versions can change a trial's numbers."""

QUANTIZER = "bitsandbytes"
"""Its version changes the numbers of a quantized base or optimiser alone, and only the extra
installs it."""


def uses_quantizer(trial: TrialSpec) -> bool:
    """Return True where the quantizer's version can change a trial's numbers."""
    return trial.model.quantization != "none" or trial.training.optimizer == "adamw_8bit"


def fingerprint(
    trial: TrialSpec,
    data_digests: Mapping[str, str],
    packages: Mapping[str, str],
    *,
    num_workers: int,
    start: AdapterStart | None = None,
) -> str:
    """Sha256 of everything that changes a trial's result, as 64 hex digits.

    Every field that has a meaning in the trial counts, the seed included; the mask of an
    unpruned adapter, say, has none (see ``AdapterSpec.canonical``). ``training.micro_batch_size``
    and ``evaluation.batch_size`` count: they leave the mathematics alone, but change which random
    numbers masks and dropout draw, and how sums are rounded. Of a judge its model counts, and by
    their digests its prompts and references; its address, key and limits do not.

    Args:
        trial: The resolved trial.
        data_digests: Digest of each split that is read, by name.
        packages: Version by package, as ``package_versions`` gives them.
        num_workers: Workers that share a global batch; each draws its own masks and dropout.
        start: The adapter that training starts from; of a fresh one, None, nothing is counted.
    """
    adapter = trial.adapter.canonical()
    unused = set() if uses_quantizer(trial) else {QUANTIZER}
    content: dict[str, object] = {
        "trial": {
            **trial.model_dump(mode="json"),
            "model": trial.model.canonical(),
            "adapter": adapter.model_dump(mode="json", exclude=unchanged(adapter)),
            "task": trial.task.canonical(),
            "training": trial.training.canonical(),
            "evaluation": trial.evaluation.canonical(),
        },
        "data": dict(data_digests),
        "packages": {name: packages[name] for name in packages if name not in unused},
        "num_workers": num_workers,
    }
    if start is not None:
        content["start"] = start.digest
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Installed versions of ``PACKAGES``, read from their metadata, and of this package.

    The quantizer is left out where it is not installed. This package need not be installed: a Ray
    job may bring it in its working folder.
    """
    versions = {name: metadata.version(name) for name in PACKAGES}
    if next(iter(metadata.distributions(name=QUANTIZER)), None) is not None:
        versions[QUANTIZER] = metadata.version(QUANTIZER)
    return {**versions, "droplora-sweep": __version__}
