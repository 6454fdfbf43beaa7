"""Setting of the checks: a device, a size of model, and a folder with both model and data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.models.inspecting import inspect_model
from droplora_sweep.models.loading import load_tokenizer
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec, ZeroSpec
from droplora_sweep.tasks.loading import load_task
from tests.saved_files import trained_files
from tests.training.byte_model import make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.training.runner import TrialRunner

    OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of the model and of a micro-batch.

    Attributes:
        name: Name on the command line.
        config: Fields of ``LlamaConfig``.
        sequence_tokens: Tokens of each training sequence.
        micro_batch: Sequences of a forward pass.
        rank: Rank of the adapters.
        num_decoded: Tokens that are decoded of a prompt.
        decoded_together: Prompts of a large decoding batch.
        matrix: Side of the matrices whose product the device is timed by.
        copied_bytes: Bytes of the tensor whose copy it is timed by.
        num_launches: Operations of a row that one is timed by.
    """

    name: str
    config: Mapping[str, int] = field(repr=False)
    sequence_tokens: int
    micro_batch: int
    rank: int
    num_decoded: int
    decoded_together: int
    matrix: int
    copied_bytes: int
    num_launches: int


TINY = Size(
    name="tiny",
    config={
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 320,
    },
    sequence_tokens=64,
    micro_batch=2,
    rank=4,
    num_decoded=6,
    decoded_together=4,
    matrix=128,
    copied_bytes=1 << 16,
    num_launches=200,
)
BILLION = Size(
    # TinyLlama's sizes: 1.1 billion parameters.
    name="1b",
    config={
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "vocab_size": 32_000,
    },
    sequence_tokens=1024,
    micro_batch=8,
    rank=32,
    num_decoded=64,
    decoded_together=16,
    matrix=8192,
    copied_bytes=1 << 31,
    num_launches=2000,
)
SIZES = {size.name: size for size in (TINY, BILLION)}

BENCHMARK = "bytes"
NUM_EXAMPLES = 72
"""Training sequences of full length in the data, of which a trial takes what it needs."""


@dataclass(frozen=True)
class Setting:
    """Arguments that every check is a function of.

    Attributes:
        size: Sizes of the large model.
        device: ``cuda`` or ``cpu``.
        folder: Place for the model, the data and what checks write.
    """

    size: Size
    device: str
    folder: Path

    @property
    def gpu_index(self) -> int | None:
        """Index as `TrialRunner` has it."""
        return 0 if self.device == "cuda" else None

    @property
    def threads(self) -> int | None:
        """Torch's threads of a worker on a CPU."""
        return None if self.device == "cuda" else 2

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cuda", 0) if self.device == "cuda" else torch.device("cpu")

    @property
    def model(self) -> Path:
        """Folder of the model."""
        return self.folder / "model"

    @property
    def data(self) -> Path:
        """File of the training sequences."""
        return self.folder / "sequences.jsonl"

    @cached_property
    def summary(self) -> ModelSummary:
        """Sizes of the model, as plans read them."""
        return inspect_model(self.model)

    def prepare(self) -> None:
        """Make model and data, once; the model on the device, which is many times quicker."""
        if self.data.exists():
            return
        make_model(self.size, self.model, self.torch_device)
        self.data.write_text(_records("x"))
        # A token is a byte here: what a prompt leaves of a sequence is filled by its response.
        [prompt] = self._lengths(num_train=1)
        text = "The mill by the river had not turned for years. " * 200
        self.data.write_text(_records(text[: self.size.sequence_tokens - prompt + 1]))
        assert self._lengths(num_train=2) == [self.size.sequence_tokens] * 2

    def _lengths(self, num_train: int) -> list[int]:
        spec = self.trial(num_train=num_train)
        task = load_task(spec.task)
        prompts = prompts_of(load_tokenizer(spec.model), task)
        encoded = prompts.encode(task.training_examples(), "all_turns")
        return [len(one.tokens) for one in encoded if one is not None]

    def trial(
        self,
        adapter: Mapping[str, Any] | None = None,
        *,
        num_train: int = 1,
        micro_batch: int = 1,
        global_batch: int = 1,
        **training: Any,
    ) -> TrialSpec:
        """Return a trial of the large model in bfloat16 on sequences of full length.

        Args:
            adapter: Fields of `AdapterSpec`; plain LoRA where None.
            num_train: Sequences, all of them in one epoch.
            micro_batch: Sequences of a forward pass.
            global_batch: Sequences of a step.
            training: Other fields of `TrainingSpec`.
        """
        given = {"dropout": 0.0, "pruning_rate": 0.0, **(adapter or {})}
        if given.get("method") != "full":
            given = {"rank": self.size.rank, "alpha": 2 * self.size.rank, **given}
        return TrialSpec(
            model=ModelSpec(path=str(self.model), dtype="bfloat16"),
            adapter=AdapterSpec.model_validate(given),
            task=TaskSpec.model_validate(
                {
                    "benchmarks": {BENCHMARK: {"data": str(self.data), "scoring": "exact"}},
                    "prompt": "{instruction}\n",
                    "num_train": num_train,
                    "num_validation": 1,
                }
            ),
            training=TrainingSpec(
                **{
                    "learning_rate": 1e-3,
                    "epochs": 1,
                    "warmup_steps": 0,
                    "global_batch_size": global_batch,
                    "micro_batch_size": micro_batch,
                    "max_sequence_tokens": self.size.sequence_tokens,
                    **training,
                }
            ),
            evaluation=EvaluationSpec(num_evaluations=1, batch_size=1, max_new_tokens=2),
            seed=1,
        )


def builtin_trial(**changes: Any) -> TrialSpec:
    """Return a short trial of the built-in model in float32, for checks of numbers.

    Args:
        changes: Fields of `AdapterSpec`; ``training``, ``evaluation`` and ``seed`` of the others.
    """
    training, evaluation = changes.pop("training", {}), changes.pop("evaluation", {})
    seed = changes.pop("seed", 1)
    return TrialSpec(
        adapter=AdapterSpec(**{"rank": 8, "alpha": 16, "pruning_rate": 0.5, **changes}),
        task=TaskSpec(
            benchmarks=("builtin_choice", "builtin_math"), num_train=12, num_validation=8
        ),
        training=TrainingSpec(
            **{
                "learning_rate": 5e-3,
                "epochs": 1,
                "global_batch_size": 8,
                "micro_batch_size": 4,
                "warmup_steps": 0,
                **training,
            }
        ),
        evaluation=EvaluationSpec(
            **{"num_evaluations": 1, "batch_size": 8, "max_new_tokens": 16, **evaluation}
        ),
        seed=seed,
    )


def runner(
    setting: Setting, model: ModelSpec | None = None, zero: ZeroSpec | None = None
) -> TrialRunner:
    """Return a runner on the setting's device; of the built-in model where None is given."""
    from droplora_sweep.training.runner import TrialRunner

    return TrialRunner(
        model or ModelSpec(), threads=setting.threads, gpu_index=setting.gpu_index, zero=zero
    )


def last_metrics(
    resident: TrialRunner, spec: TrialSpec, on_step: OnStep | None = None, **options: Any
) -> dict[str, float]:
    """Run a trial, and return the metrics of its last evaluation; on rank 0."""
    found: dict[str, float] = {}

    def decide(report: Any) -> Decision:
        if report is not None:
            found.update(report.evaluation.metrics)
        return Decision.GO_ON

    def after(step: int, num_steps: int) -> bool:
        if on_step is not None:
            on_step(step, num_steps)
        return False

    resident.run(spec, decide, on_step=after, **options)
    return found


def trained(resident: TrialRunner, spec: TrialSpec) -> tuple[dict[str, bytes], float]:
    """Return the files that a trial leaves, and the mean loss of its steps; on rank 0."""
    losses = [float("nan")]

    def decide(report: Any) -> Decision:
        if report is not None:
            losses.append(report.evaluation.metrics["train/loss"])
        return Decision.GO_ON

    return trained_files(resident, spec, decide), losses[-1]


def make_model(size: Size, folder: Path, device: torch.device) -> None:
    """Save a random Llama in bfloat16, and a tokenizer whose tokens are bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        **size.config,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(7)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _records(output: str) -> str:
    """Return the lines of the data: prompts of one length, all different."""
    rows = (
        {"instruction": f"Go on {number:04d}.", "input": "", "output": output, "answer": output}
        for number in range(NUM_EXAMPLES)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)
