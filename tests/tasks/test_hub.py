"""Data sets of a Hub on loopback, by configuration and split, as ``datasets`` reads them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.loopback_hub import COMMIT, Hub, hub_environment, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REPOSITORY = "owner/sums"

CARD = """\
---
configs:
- config_name: main
  default: true
  data_files:
  - {split: train_sft, path: main/train-*.parquet}
  - {split: test, path: main/test-*.parquet}
- config_name: other
  data_files:
  - {split: train, path: other.parquet}
---
"""


def rows(start: int, end: int, more: str = "") -> list[dict[str, Any]]:
    return [{"question": f"{i} + 1?{more}", "result": str(i + 1)} for i in range(start, end)]


def parquet(records: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), buffer)
    return buffer.getvalue()


FILES = {
    "README.md": CARD.encode(),
    "main/train-00000-of-00002.parquet": parquet(rows(0, 10)),
    "main/train-00001-of-00002.parquet": parquet(rows(10, 20)),
    "main/test-00000-of-00001.parquet": parquet(rows(20, 26)),
    "other.parquet": parquet(rows(0, 8, " again")),
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub("datasets", REPOSITORY, FILES)) as server:
        yield server


PROGRAM = """
import json, sys
from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.loading import load_task

for text in json.loads(sys.argv[1]):
    try:
        task = load_task(TaskSpec.model_validate(text))
    except InputError as error:
        print(json.dumps(str(error)))
        continue
    sets = [*task.benchmarks, *([] if task.mixture is None else [task.mixture])]
    print(json.dumps({
        one.name: {
            "train": [[e.instruction, e.answer] for e in one.train],
            "held": sum(map(len, one.splits().values())) - len(one.train),
            "test": [e.instruction for e in one.test()] if hasattr(one, "test") else [],
        }
        for one in sets
    }))
"""


def load_in_a_process(url: str, home: Path, *tasks: dict[str, Any]) -> list[Any]:
    """Tasks as a process reads them whose Hub is ``url``; the client asks for it on import."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(tasks)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **hub_environment(url, home),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def own(**more: Any) -> dict[str, Any]:
    mine = {
        "data": REPOSITORY,
        "revision": COMMIT,
        "scoring": "exact",
        "fields": {"instruction": "question", "answer": "result"},
        **more,
    }
    return {"benchmarks": {"mine": mine}, "num_validation": 4}


def test_a_configuration_and_its_splits(hub: Hub, tmp_path: Path) -> None:
    splits = {"train": "train_sft", "test": "test[:3]"}
    train = {
        "name": "mix",
        "data": REPOSITORY,
        "revision": COMMIT,
        "configuration": "other",
        "fields": {"instruction": "question", "output": "result"},
    }
    tasks = (
        own(configuration="main", splits=splits),
        own(splits={"train": "train_sft"}),
        {"benchmarks": ["builtin_choice"], "num_validation": 2, "train": train},
        own(configuration="none"),
        own(splits={"train": "dev"}),
        own(data="owner/unheard-of"),
    )
    both, default, mixture, *faults = load_in_a_process(hub.url, tmp_path, *tasks)
    known = {(one["question"], one["result"]) for one in rows(0, 20)}
    assert {tuple(one) for one in both["mine"]["train"]} < known
    assert (len(both["mine"]["train"]), both["mine"]["held"]) == (16, 4)
    assert sorted(both["mine"]["test"]) == [one["question"] for one in rows(20, 23)]
    assert default["mine"]["train"] == both["mine"]["train"]
    assert len(default["mine"]["test"]) == 6
    assert {one for one, _ in mixture["mix"]["train"]} == {
        one["question"] for one in rows(0, 8, " again")
    }
    place = f"task.benchmarks.mine.data: {REPOSITORY} at {COMMIT[:12]}: "
    assert faults[0] == f"{place}must have its `configuration` from main, other, got none"
    assert faults[1] == f"{place}must have the split dev, got train_sft, test; `splits` names them"
    assert "owner/unheard-of" in faults[2]

    # What was prepared once needs no Hub: this one is not there.
    [again] = load_in_a_process("http://127.0.0.1:1", tmp_path, tasks[0])
    assert again == both


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    [fault] = load_in_a_process("http://127.0.0.1:1", tmp_path, own(configuration="main"))
    assert fault == (
        f"task.benchmarks.mine.data: the Hub cannot be reached for {REPOSITORY} at {COMMIT}, and "
        "no earlier download is on this machine; give a local folder instead"
    )
