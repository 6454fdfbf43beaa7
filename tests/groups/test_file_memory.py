"""Memory while a full model of more than 1 GB leaves its worker: a few pieces at a time."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.messages import Decision
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec import CheckpointSpec
from droplora_sweep.spec.loader import load_sweep_file
from droplora_sweep.training.checkpoints.places import CheckpointsInFolder
from droplora_sweep.training.checkpoints.store import Checkpoints
from droplora_sweep.training.runner import TrialRunner
from tests.faults.sweeping import actors, start
from tests.training.byte_model import make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

MOST_BYTES = 200_000_000
TIMEOUT_S = 600.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 269 million fp32 weights, with few tokens: 1.08 GB."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=16,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def search_space(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trial of two optimiser steps, which is saved after each."""
    given = {
        "name": "large",
        "model": {"path": str(model), "dtype": "float32"},
        "task": {"benchmarks": ["builtin_choice"], "num_train": 4, "num_validation": 2},
        "adapter": {"method": "full", "pruning_rate": 0.0},
        "training": {
            "epochs": 1,
            "global_batch_size": 2,
            "micro_batch_size": 1,
            "warmup_steps": 0,
            "learning_rate": 1e-4,
            "gradient_checkpointing": True,
        },
        "evaluation": {"num_evaluations": 1, "max_new_tokens": 1},
        "search": {
            "num_trials": 1,
            "queue_baselines": False,
            "stopping": {"kind": "none"},
            "parameters": {"training.learning_rate": {"values": [1e-4]}},
        },
        "checkpoint": {"every_steps": 1, "keep": 1},
        "group": {"num_workers": 1, "max_groups": 1, "checkpoint_transport": "ray"},
    }
    path = tmp_path_factory.mktemp("space") / "large.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def held_bytes(pid: int) -> int:
    """Memory of a process's own: without pages that a file is behind, which the kernel can drop,
    and without those of Ray's object store, which a node has once and of fixed size.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


class Sampler(threading.Thread):
    """Takes the highest values of several processes, 50 times a second.

    Args:
        find: Returns the processes by name; asked once a second.
    """

    def __init__(self, find: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(daemon=True)
        self._find = find
        self._ended = threading.Event()
        self.peaks: dict[str, int] = {}

    def run(self) -> None:
        processes: Mapping[str, int] = {}
        next_look = 0.0
        while not self._ended.wait(0.02):
            if time.monotonic() > next_look:
                processes, next_look = self._find(), time.monotonic() + 1
            for name, pid in processes.items():
                try:
                    now = held_bytes(pid)
                except (OSError, KeyError):
                    # It has just ended.
                    continue
                self.peaks[name] = max(now, self.peaks.get(name, 0))

    def end(self) -> dict[str, int]:
        self._ended.set()
        self.join()
        return self.peaks


def test_a_worker_writes_checkpoint_and_model_without_a_copy_in_memory(
    search_space: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """From the last optimiser step on: evaluation, checkpoint, and what the trial leaves."""
    spec = load_sweep_file(search_space).sweep.trial
    place = CheckpointsInFolder(tmp_path / "checkpoints")
    checkpoints = Checkpoints(place, CheckpointSpec(every_steps=1, keep=1))
    samplers: list[Sampler] = []
    before: list[int] = []

    def on_step(step: int, num_steps: int) -> bool:
        if step == num_steps:
            before.append(held_bytes(os.getpid()))
            samplers.append(Sampler(lambda: {"worker": os.getpid()}))
            samplers[0].start()
        return step == num_steps

    into = tmp_path / "left"
    into.mkdir()
    TrialRunner(spec.model, threads=2).run(
        spec, lambda _: Decision.GO_ON, on_step=on_step, checkpoints=checkpoints, into=into
    )
    extra = samplers[0].end()["worker"] - before[0]
    size = (into / "model.safetensors").stat().st_size
    [saved] = place.names()
    files = (tmp_path / "checkpoints" / saved).glob("*.safetensors")
    saved_size = sum(file.stat().st_size for file in files)
    record_property("extra_mb", {"worker": extra / 1e6})
    assert size > 1_000_000_000
    assert saved_size > 3 * size - 1_000_000
    assert extra < MOST_BYTES


def test_no_process_between_worker_and_storage_holds_a_large_model(
    search_space: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Driver, pool, and the file server that all of it goes through; the worker as it ends."""
    mark = str(tmp_path)
    command = [sys.executable, "-m", "droplora_sweep", "run", str(search_space)]
    driver = start(
        [*command, "--address", "local", "--set", f"storage={tmp_path / 'results'}"], mark
    )

    def find() -> dict[str, int]:
        found: dict[str, int] = {"driver": driver.pid}
        for title, name in (("_Pool", "pool"), ("_FileServer", "file server")):
            found.update((name, process.pid) for process in actors(mark, title))
        return found

    sampler = Sampler(find)
    lines: list[str] = []
    early: dict[str, int] = {}
    assert driver.stdout is not None
    for line in driver.stdout:
        lines.append(line)
        if "started" in line and not early:
            early = {name: held_bytes(pid) for name, pid in find().items()}
            sampler.start()
    code = driver.wait(TIMEOUT_S)
    output = "".join(lines)
    assert code == 0, output
    peaks = sampler.end()
    extra = {name: peaks[name] - early[name] for name in ("driver", "pool", "file server")}
    [trial] = Ledger.open(tmp_path / "results", "large").records()
    assert trial.state is TrialState.COMPLETE, output
    assert trial.adapter is not None
    size = (trial.adapter / "model.safetensors").stat().st_size
    record_property("extra_mb", {name: each / 1e6 for name, each in extra.items()})
    assert size > 1_000_000_000
    assert all(each < MOST_BYTES for each in extra.values()), extra
