from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks import Task, load_task

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def commonsense() -> Path:
    """The published benchmark files, where this machine has them."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("DROPLORA_TEST_DATA", default)) / "commonsense"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist; DROPLORA_TEST_DATA names the benchmark files")
    return folder


def load(**fields: Any) -> Task:
    return load_task(TaskSpec.model_validate({"num_validation": 2, **fields}))


def refusal(**fields: Any) -> list[str]:
    with pytest.raises(InputError) as raised:
        load(**fields)
    return str(raised.value).splitlines()


def make_record(index: int, **changes: Any) -> dict[str, Any]:
    answer = "true" if index % 2 else "false"
    record = {
        "instruction": f"Please answer with true or false, question: is {index} odd?",
        "input": "",
        "output": f"the correct answer is {answer}",
        "answer": answer,
    }
    return {**record, **changes}


@pytest.fixture
def write_boolq(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``boolq/<split>.json`` for each given split and returns the data folder."""

    def write(**splits: list[Any] | str) -> Path:
        folder = tmp_path / "data" / "boolq"
        folder.mkdir(parents=True, exist_ok=True)
        for split, content in splits.items():
            text = content if isinstance(content, str) else json.dumps(content, indent=1)
            (folder / f"{split}.json").write_text(text, encoding="utf-8")
        return folder.parent

    return write
