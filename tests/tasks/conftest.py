from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.tasks.task import Task


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
