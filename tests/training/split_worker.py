"""One rank of a real process group: trains the cases of test_splitting.py and saves what it saw.

python split_worker.py RANK WORLD_SIZE FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.evaluation.encoding import Encoded
from droplora_sweep.evaluation.sequences import IGNORED
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.trial import TrainingSpec, TrialSpec
from droplora_sweep.training.data import global_batch
from droplora_sweep.training.device import settle
from droplora_sweep.training.engine import started_engine
from droplora_sweep.training.loop import Loop
from droplora_sweep.training.trainable import TrainingData

NUM_EXAMPLES = 11
MICRO_BATCH_SIZES = (1, 2, 4)
MASKS = {"none": {}, "step": {"pruning_rate": 0.5, "mask": "step"}}
NUM_STEPS = 3


def trial(micro_batch_size: int, **adapter: object) -> TrialSpec:
    targets = ("q_proj", "v_proj", "up_proj", "down_proj")
    adapter = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": targets, **adapter}
    return TrialSpec(
        adapter=AdapterSpec(**adapter),
        training=TrainingSpec(
            global_batch_size=7,
            micro_batch_size=micro_batch_size,
            warmup_steps=0,
            learning_rate=1e-2,
            max_grad_norm=1e6,
            epochs=2,
        ),
        seed=3,
    )


def base_model() -> LlamaForCausalLM:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def training_data() -> TrainingData:
    numbers = np.random.default_rng(1)
    sequences = []
    for _ in range(NUM_EXAMPLES):
        num_prompt, num_response = numbers.integers(2, 12), numbers.integers(1, 9)
        tokens = numbers.integers(0, 96, num_prompt + num_response).astype(np.int32)
        sequences.append(Encoded(tokens, int(num_prompt)))
    return TrainingData(tuple(sequences), 0)


def adapted_model(base: LlamaForCausalLM, spec: TrialSpec):
    """An adapter whose B is not zero, so that A has a gradient from the first step on."""
    adapted = attach(base, spec.adapter, spec.seed)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in adapted.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1, generator=generator)
    return adapted


def run_sharded(base: LlamaForCausalLM, spec: TrialSpec) -> dict[str, torch.Tensor]:
    """Losses, and the gradients that reach AdamW, of this project's loop on all ranks."""
    adapted = adapted_model(base, spec)
    num_trainable = sum(p.numel() for p in adapted.model.parameters() if p.requires_grad)
    gradients: list[torch.Tensor] = []

    def record(optimizer: torch.optim.Optimizer, *_: object) -> None:
        partition = optimizer.param_groups[0]["params"][0].grad
        parts = [torch.empty_like(partition) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, partition)
        gradients.append(torch.cat(parts)[:num_trainable].clone())

    device = torch.device("cpu")
    losses, norms = [], []
    with started_engine(adapted.model, spec.training, device) as engine:
        engine._engine.optimizer.optimizer.register_step_pre_hook(record)
        loop = Loop(
            adapted=adapted,
            engine=engine,
            data=training_data(),
            spec=spec,
            pad_token_id=0,
            device=device,
        )
        for step in range(NUM_STEPS):
            result = loop.run_step(step)
            losses.append(result.loss)
            norms.append(engine._engine.get_global_grad_norm())
    weights = [p.detach().flatten() for p in adapted.model.parameters() if p.requires_grad]
    adapted.detach()
    return {
        "losses": torch.tensor(losses),
        "norms": torch.tensor(norms),
        "gradients": torch.stack(gradients),
        "weights": torch.cat(weights),
    }


def run_plain(base: LlamaForCausalLM, spec: TrialSpec) -> dict[str, torch.Tensor]:
    """The same in plain torch: one padded batch with an attention mask and mean cross-entropy."""
    adapted = adapted_model(base, spec)
    adapted.model.train()
    trainable = [p for p in adapted.model.parameters() if p.requires_grad]
    training = spec.training
    optimizer = torch.optim.AdamW(
        trainable, lr=training.learning_rate, weight_decay=training.weight_decay
    )
    sequences = training_data().sequences
    losses, gradients = [], []
    for step in range(NUM_STEPS):
        some = [sequences[i] for i in global_batch(step, NUM_EXAMPLES, 7, spec.seed)]
        longest = max(len(s.tokens) for s in some)
        inputs = torch.zeros(len(some), longest, dtype=torch.long)
        labels = torch.full_like(inputs, IGNORED)
        attended = torch.zeros_like(inputs)
        for row, sequence in enumerate(some):
            end, start = len(sequence.tokens), sequence.num_prompt_tokens
            inputs[row, :end] = torch.from_numpy(sequence.tokens)
            labels[row, start:end] = inputs[row, start:end]
            attended[row, :end] = 1
        adapted.set_step(step, NUM_STEPS)
        loss = adapted.model(input_ids=inputs, attention_mask=attended, labels=labels).loss
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in trainable]))
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * (4 - step) / 4
        optimizer.step()
        optimizer.zero_grad()
    weights = torch.cat([p.detach().flatten() for p in trainable])
    adapted.detach()
    stacked = torch.stack(gradients)
    return {
        "losses": torch.tensor(losses),
        "norms": stacked.norm(dim=1),
        "gradients": stacked,
        "weights": weights,
    }


def run_cases() -> dict[tuple[str, int], dict[str, torch.Tensor]]:
    """By mask and micro-batch size, on all ranks of the process group."""
    base = base_model()
    return {
        (mask, size): run_sharded(base, trial(size, **adapter))
        for mask, adapter in MASKS.items()
        for size in MICRO_BATCH_SIZES
    }


def main(rank: int, world_size: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world_size
    )
    settle(threads=1)
    torch.save(run_cases(), folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
