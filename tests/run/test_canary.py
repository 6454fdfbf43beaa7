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

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.records.trial import SweepOutcome
from tests.evaluation.judging.conftest import prompt_records, write_lines
from tests.raylets import BIN, ROOT, free_ports, own_ray

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
    """

    folder: Path
    address: str

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
