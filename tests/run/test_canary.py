"""The canary for real: each thing that is wrong on a worker's node ends a run in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import ray
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.records.trial import SweepOutcome
from tests.evaluation.judging.conftest import prompt_records, write_lines
from tests.raylets import BIN, BLIND, ROOT, free_ports, own_ray, running_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(400)]

NUM_EXAMPLES = 40
REFUSED_WITHIN_S = 150.0
"""Of which most is the start of a group and its end, on two processors that others use too."""
SCORER = "def rate(response, reference):\n    return float(response == reference)\n"
RAISES_ON_WORKERS = """import sys

def rate(response, reference):
    if "default_worker" in sys.argv[0]:
        raise OSError("no key")
    return 1.0
"""
LIMITS_WORKERS = """import resource, sys

def rate(response, reference):
    return 1.0

if "default_worker" in sys.argv[0]:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + 1_200_000_000, hard))
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray whose nodes have no bubblewrap on their path, and all other programs."""
    saved, programs = os.environ["PATH"], tmp_path_factory.mktemp("programs")
    for folder in map(Path, (str(BIN), *saved.split(os.pathsep))):
        for program in folder.iterdir() if folder.is_dir() else ():
            link = programs / program.name
            if program.name != "bwrap" and not link.is_symlink():
                link.symlink_to(program)
    os.environ["PATH"] = str(programs)
    assert shutil.which("bwrap") is None
    try:
        with own_ray():
            os.environ["PATH"] = saved
            yield ray.get_runtime_context().gcs_address
    finally:
        os.environ["PATH"] = saved


@dataclass
class Ended:
    """A run of the command, once it has ended.

    Attributes:
        code: Its exit code.
        output: What it printed.
        complaints: What it printed on stderr.
        seconds: From the start of the groups to its end.
    """

    code: int
    output: str
    complaints: str
    seconds: float

    def fault(self) -> str:
        """The one line about the fault."""
        assert self.code == 2, self.output + self.complaints
        assert "Traceback" not in self.output + self.complaints
        lines = [line for line in self.complaints.splitlines() if not line.startswith("next: ")]
        assert len(lines) == 1, self.complaints
        assert "canary: trying" in self.output
        assert "canary: passed" not in self.output
        assert self.seconds < REFUSED_WITHIN_S
        return lines[0]


@dataclass
class Sweep:
    """A sweep of one trial in a file of its own.

    Attributes:
        folder: Place of the file, its data and its results.
        address: Ray's.
        environment: Variables of the command; this process's where None.
    """

    folder: Path
    address: str
    environment: dict[str, str] | None = None

    def write(self, scorer: str = SCORER, **sections: Any) -> None:
        """Write the file, a benchmark of the user's own, and its scorer."""
        records = [
            {"instruction": f"Say {number}.", "output": str(number), "answer": str(number)}
            for number in range(NUM_EXAMPLES)
        ]
        (self.folder / "own.json").write_text(json.dumps(records))
        (self.folder / "own.py").write_text(scorer)
        own = {
            "data": str(self.folder / "own.json"),
            "scoring": f"{self.folder / 'own.py'}:rate",
        }
        task = {"benchmarks": {"own": own}, "num_train": 16, "num_validation": 4, "num_test": 4}
        training = {"epochs": 1, "global_batch_size": 8, "micro_batch_size": 4}
        content = {
            "name": "c",
            "storage": str(self.folder / "results"),
            "task": {**task, **sections.pop("task", {})},
            "training": {**training, **sections.pop("training", {})},
            "evaluation": {
                "num_evaluations": 1,
                "max_new_tokens": 8,
                **sections.pop("evaluation", {}),
            },
            "search": {"num_trials": 1},
            "group": {"num_workers": 2, "max_groups": 1},
            **sections,
        }
        (self.folder / "c.yaml").write_text(json.dumps(content, indent=1))

    def run(self, change: Callable[[], object] = lambda: None) -> Ended:
        """Run it; make a change once the driver has read everything, and no worker anything."""
        command = [sys.executable, "-m", "droplora_sweep", "run", str(self.folder / "c.yaml")]
        with subprocess.Popen(
            [*command, "--address", self.address],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            complaints: list[str] = []
            stderr = process.stderr
            reader = threading.Thread(target=lambda: complaints.append(stderr.read()))
            reader.start()
            output, started_s = [], time.monotonic()
            for line in process.stdout:
                output.append(line)
                if line.startswith("canary: trying"):
                    change()
                    started_s = time.monotonic()
            code = process.wait(300)
            seconds = time.monotonic() - started_s
            reader.join(30)
        return Ended(code, "".join(output), "".join(complaints), seconds)

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.folder / "results", "c")


@pytest.fixture
def sweep(tmp_path: Path, address: str) -> Sweep:
    return Sweep(tmp_path, address)


def test_data_that_a_node_lacks_and_what_follows_once_they_are_there(sweep: Sweep) -> None:
    sweep.write()
    data = sweep.folder / "own.json"
    kept = data.read_bytes()
    line = sweep.run(data.unlink).fault()
    assert str(data) in line
    assert "(rank 0 of group g0)" in line or "(rank 1 of group g0)" in line
    assert sweep.ledger.record.outcome is SweepOutcome.FAILED
    assert not sweep.ledger.record.trials
    assert str(data) in sweep.ledger.record.reason
    # Nothing was trained, so that the file may change too.
    data.write_bytes(kept)
    sweep.write(training={"micro_batch_size": 2})
    ended = sweep.run()
    assert ended.code == 0, ended.complaints
    assert "from here on: training.micro_batch_size was 4, now 2" in ended.output
    assert "canary: passed, " in ended.output
    [trial] = sweep.ledger.record.trials
    assert trial.spec["training"]["micro_batch_size"] == 2


def test_a_model_that_is_not_the_drivers(sweep: Sweep) -> None:
    model = sweep.folder / "model"
    shutil.copytree(BUILTIN_FOLDER, model)
    sweep.write(model={"path": str(model)})

    def change() -> None:
        weights = max(model.glob("*.safetensors"))
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(bytes(content))

    line = sweep.run(change).fault()
    assert "model.path: must be the same on all nodes: " in line
    assert ".safetensors on " in line
    assert line.endswith(" is not that on the driver's node")


def test_data_that_are_not_the_drivers(sweep: Sweep) -> None:
    sweep.write()
    data = sweep.folder / "own.json"

    def change() -> None:
        data.write_text(data.read_text().replace("Say", "Tell"))

    line = sweep.run(change).fault()
    assert "must be the same on all nodes: own/" in line
    assert "task.data" in line


def test_the_larger_model_of_a_confirmation_before_the_search_is_paid_for(sweep: Sweep) -> None:
    """Groups start with the search's, and have tried it when they come to the other."""
    search, full = sweep.folder / "search", sweep.folder / "full"
    shutil.copytree(BUILTIN_FOLDER, full)
    _narrower(search)
    sweep.write(
        model={"path": str(full)},
        adapter={"rank": 8, "alpha": 16},
        search={"num_trials": 2, "fidelity": {"model.path": str(search)}},
        confirm={"rates": 1, "seeds": 3},
        task={"num_confirmation": 4},
        group={"num_workers": 1, "max_groups": 1},
    )
    weights = max(full.glob("*.safetensors"))
    kept = weights.read_bytes()
    line = sweep.run(weights.unlink).fault()
    assert f"model.path: must hold *.safetensors weights, got {full}" in line
    assert "(rank 0 of group g0)" in line
    assert not sweep.ledger.record.trials
    # One that every worker has, and that cannot learn.
    tensors = load_file(BUILTIN_FOLDER / weights.name)
    broken = {name: torch.full_like(one, float("nan")) for name, one in tensors.items()}
    weights.write_bytes(kept)
    save_file(broken, weights, metadata={"format": "pt"})
    line = sweep.run().fault()
    assert "group.canary: must pass before the first trial: a step on the longest sequences" in line
    assert "nan at step 1" in line
    assert not sweep.ledger.record.trials


def test_a_storage_that_takes_no_checkpoint_from_workers(sweep: Sweep) -> None:
    sweep.write()
    incoming = sweep.folder / "results" / "c" / ".incoming"

    def change() -> None:
        # A folder that workers would write into, once the driver has made the one around it.
        while not (incoming.is_dir() and any(incoming.iterdir())):
            time.sleep(0.01)
        (incoming / "canary").write_text("")

    line = sweep.run(change).fault()
    assert "storage: must take what a trial leaves: " in line
    assert "canary: cannot write: File exists" in line
    assert "(rank 0 of group g0)" in line
    assert not sweep.ledger.record.trials
    # What the canary writes is read back, and goes.
    ended = sweep.run()
    assert ended.code == 0, ended.complaints
    assert not incoming.exists()


def test_data_that_one_node_of_two_lacks(tmp_path: Path) -> None:
    """Each node has a group; that of the node without data may be the second to start."""
    (tmp_path / "data").mkdir()
    tried = subprocess.run([*BLIND, tmp_path, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {tried.stderr.strip()}")
    with running_cluster([1, 1], unseen=tmp_path / "data") as cluster:
        sweep = Sweep(tmp_path, cluster.address, cluster.environment)
        sweep.write(
            search={"num_trials": 4},
            group={"num_workers": 1, "max_groups": 2, "cpus_per_worker": 1},
            training={"epochs": 40},
        )
        seen = tmp_path / "data" / "own.json"
        content = json.loads((tmp_path / "c.yaml").read_text())
        content["task"]["benchmarks"]["own"]["data"] = str(seen)
        shutil.move(tmp_path / "own.json", seen)
        (tmp_path / "c.yaml").write_text(json.dumps(content, indent=1))
        ended = sweep.run()
        [line] = [one for one in ended.complaints.splitlines() if not one.startswith("next: ")]
        assert ended.code == 2, ended.output + ended.complaints
        assert str(seen) in line
        assert "(rank 0 of group g" in line
        assert "Traceback" not in ended.output + ended.complaints


def _narrower(folder: Path) -> None:
    """A random model of the built-in one's family, with its tokenizer."""
    torch.manual_seed(7)
    config = AutoConfig.from_pretrained(BUILTIN_FOLDER)
    config.update({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1})
    config.update({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16})
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(BUILTIN_FOLDER).save_pretrained(folder)


def test_a_scorer_that_raises_on_workers(sweep: Sweep) -> None:
    sweep.write(RAISES_ON_WORKERS)
    line = sweep.run().fault()
    assert "task.benchmarks.own.scoring: must score the model's responses: " in line
    assert "the scorer raised OSError: no key" in line


def test_a_worker_without_a_sandbox(sweep: Sweep) -> None:
    sweep.write(task={"benchmarks": ["builtin_code"]})
    line = sweep.run().fault()
    assert "evaluation.allow_unsandboxed_code: code answers must be run in a sandbox" in line
    assert "got no `bwrap` on PATH" in line


def test_memory_that_does_not_suffice_for_a_step(sweep: Sweep) -> None:
    large = {"global_batch_size": 8192, "micro_batch_size": 4096}
    sweep.write(LIMITS_WORKERS, training=large)
    line = sweep.run().fault()
    assert "training.micro_batch_size: must fit into a worker's memory, got 4096: " in line
    assert "ran out of memory: " in line
    assert "(weights " in line
    assert "; 2048 needs " in line


def test_without_a_canary_a_problem_is_met_by_a_trial(sweep: Sweep) -> None:
    sweep.write(RAISES_ON_WORKERS, group={"num_workers": 1, "max_groups": 1, "canary": False})
    ended = sweep.run()
    assert ended.code == 3, ended.complaints
    assert "canary: " not in ended.output
    [trial] = sweep.ledger.record.trials
    assert "no key" in trial.reason


def test_a_judge_that_no_worker_can_reach(sweep: Sweep) -> None:
    """Its question is in the test split alone, which the canary reads too."""
    [port] = free_ports(1)
    question = {"question_id": 1, "category": "writing", "turns": ["Name a colour.", "Another."]}
    rated = sweep.folder / "mt_bench"
    rated.mkdir()
    write_lines(rated / "question.jsonl", [question])
    judge = {
        "url": f"http://127.0.0.1:{port}/v1",
        "model": "m",
        "prompts": str(write_lines(sweep.folder / "prompts.jsonl", prompt_records())),
        "cache": str(sweep.folder / "replies"),
    }
    benchmarks = {"builtin_choice": None, "mt_bench": {"data": str(rated)}}
    sweep.write(task={"benchmarks": benchmarks}, evaluation={"judge": judge, "max_new_tokens": 64})
    line = sweep.run().fault()
    assert "evaluation.judge.url: must answer on every worker's node, got no connection: " in line
