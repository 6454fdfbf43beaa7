"""Start of a trial of a model of 1.1 billion parameters, by piece: seconds, bytes and memory.

``python -m tests.benchmarks.real_size FOLDER`` makes a random Llama of TinyLlama's sizes there, in
bfloat16 and in shards, unless it is there; two ranks over gloo then train two trials of one
optimiser step on it, one after the other. It prints a row of each rank and trial. Takes some
minutes on two CPU cores, and 6 GB of memory.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
WORLD_SIZE = 2
TRIALS = ({"rank": 16, "alpha": 32, "pruning_rate": 0.5}, {"rank": 32, "alpha": 64})

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import TrialSpec


def make_model(folder: Path) -> None:
    """Save a random model of TinyLlama's sizes, and a tokenizer of bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.training.byte_model import make_tokenizer

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(7)
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="500MB")
    tokenizer.save_pretrained(folder)


def trial(folder: Path, adapter: dict[str, Any]) -> TrialSpec:
    from droplora_sweep.spec.adapter import AdapterSpec
    from droplora_sweep.spec.evaluation import EvaluationSpec
    from droplora_sweep.spec.task import TaskSpec
    from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec

    return TrialSpec(
        model=ModelSpec(path=str(folder), dtype="bfloat16"),
        adapter=AdapterSpec.model_validate({"pruning_rate": 0.0, **adapter}),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=2, num_validation=1),
        training=TrainingSpec(epochs=1, global_batch_size=2, micro_batch_size=1),
        evaluation=EvaluationSpec(num_evaluations=1, batch_size=1, max_new_tokens=1),
    )


def memory_mb(name: str) -> float:
    """Memory of this process, ``Rss`` or ``RssAnon``, or the most it had, ``VmHWM``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def memory() -> dict[str, float]:
    """Memory now: its own, and that of mapped files, which processes of a machine share."""
    return {"own_mb": memory_mb("RssAnon"), "mapped_mb": memory_mb("RssFile")}


def tell(row: dict[str, Any]) -> None:
    rounded = {name: round(value, 1) for name, value in row.items()}
    sys.stdout.write(json.dumps(rounded) + "\n")
    sys.stdout.flush()


def work(rank: int, folder: Path, port: int) -> None:
    """Train the trials as one of the ranks; prints a JSON line of each."""
    started = time.monotonic()
    import torch
    import torch.distributed as dist
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    from droplora_sweep.records.messages import Decision
    from droplora_sweep.training.runner import TrialRunner

    class Collectives(TorchDispatchMode):
        """Counts the bytes of tensors that collectives are given."""

        num_bytes = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if func.namespace == "c10d":
                given = [one for one in tree_leaves(args) if isinstance(one, torch.Tensor)]
                self.num_bytes += sum(one.numel() * one.element_size() for one in given)
            return func(*args, **(kwargs or {}))

    imported = time.monotonic()
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=WORLD_SIZE)
    with Collectives() as counted:
        dist.broadcast(torch.ones(1000), 0)
    assert counted.num_bytes == 4000, "the counter counts"
    specs = [trial(folder, adapter) for adapter in TRIALS]
    runner = TrialRunner(specs[0].model, threads=1)
    loaded = time.monotonic()
    row = {"rank": rank, "import_s": imported - started, "load_s": loaded - imported}
    tell({**row, **memory(), "peak_mb": memory_mb("VmHWM")})
    for number, spec in enumerate(specs):
        Path("/proc/self/clear_refs").write_text("5")
        counter, times = Collectives(), [time.monotonic()]
        counter.__enter__()

        def on_begin(*_: int) -> None:
            counter.__exit__(None, None, None)  # noqa: B023
            times.append(time.monotonic())  # noqa: B023

        def on_step(*_: int) -> bool:
            times.append(time.monotonic())  # noqa: B023
            return False

        runner.run(spec, lambda _: Decision.END, on_begin=on_begin, on_step=on_step)
        times.append(time.monotonic())
        seconds = [after - before for before, after in pairwise(times)]
        pieces = dict(zip(("start_s", "step_s", "rest_s"), seconds, strict=True))
        row = {"rank": rank, "trial": number, "moved_mb": counter.num_bytes / 1e6}
        tell({**row, **pieces, **memory(), "peak_mb": memory_mb("VmHWM")})


def main(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        make_model(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6
    tell({"base_mb": base})
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(folder), str(rank), str(port)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(WORLD_SIZE)
    ]
    sys.exit(max(rank.wait() for rank in ranks))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        work(int(sys.argv[2]), Path(sys.argv[1]), int(sys.argv[3]))
    else:
        main(Path(sys.argv[1]))
