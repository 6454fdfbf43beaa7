"""Training examples of a task are tokenised once by the workers of a node."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from droplora_sweep.evaluation.prompting import prompts_of
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.training.data import read
from droplora_sweep.training.shared_sequences import (
    FACTS,
    LEAST_EXAMPLES,
    MOST_KEPT,
    MappedSequences,
    read_shared,
)
from droplora_sweep.training.trainable import TrainingData, trainable

from .conftest import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

CHAT_TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "droplora-sweep" / "tokens"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations; some are too long, and some go on for two turns."""
    file = tmp_path_factory.mktemp("rows") / "train.jsonl"
    lines = []
    for number in range(LEAST_EXAMPLES + 100):
        question = f"{number} + 1?" + " Please." * (80 if number % 100 == 7 else 0)
        said = [("user", question), ("assistant", str(number + 1))]
        if number % 3 == 0:
            said += [("user", "And one more?"), ("assistant", f"{number + 2}.")]
        messages = [{"role": role, "content": text} for role, text in said]
        lines.append(json.dumps({"messages": messages}))
    file.write_text("\n".join(lines))
    return file


class Reader:
    """Reads trials as a worker does; counts how often it tokenises."""

    def __init__(self, rows: Path) -> None:
        self.count = 0
        self._rows = rows
        self.tokenizer = make_tokenizer()
        self.tokenizer.chat_template = CHAT_TEMPLATE

    def spec(self, *, limit: int = 320, **task: Any) -> TrialSpec:
        own = {"data": str(self._rows), "scoring": "exact"}
        given = {"benchmarks": {"mine": own}, "num_validation": 8, "prompt": "chat", **task}
        return TrialSpec(
            model=ModelSpec(),
            adapter=AdapterSpec(rank=4, pruning_rate=0.5),
            task=TaskSpec.model_validate(given),
            training=TrainingSpec(max_sequence_tokens=limit),
        )

    def read(self, spec: TrialSpec, pause_s: float = 0.0) -> TrainingData:
        task = load_task(spec.task)
        prompts = prompts_of(self.tokenizer, task)

        def tokenise() -> TrainingData:
            self.count += 1
            time.sleep(pause_s)
            sequences = prompts.encode(task.training_examples(), spec.task.loss_on)
            return trainable(sequences, spec.training.max_sequence_tokens)

        return read_shared(spec, task, prompts, self.tokenizer, tokenise)

    def alone(self, spec: TrialSpec) -> TrainingData:
        task = load_task(spec.task)
        prompts = prompts_of(self.tokenizer, task)
        sequences = prompts.encode(task.training_examples(), spec.task.loss_on)
        return trainable(sequences, spec.training.max_sequence_tokens)


@pytest.fixture
def reader(root: Path, rows: Path) -> Reader:
    return Reader(rows)


def assert_same(one: TrainingData, other: TrainingData) -> None:
    counts = [
        (len(given.sequences), given.num_overlong, given.num_empty, given.num_shortened)
        for given in (one, other)
    ]
    assert counts[0] == counts[1]
    for a, b in zip(one.sequences, other.sequences, strict=True):
        assert np.array_equal(a.tokens, b.tokens)
        assert a.num_prompt_tokens == b.num_prompt_tokens
        assert np.array_equal(a.is_counted, b.is_counted)


def kept(root: Path) -> list[Path]:
    return [one for one in root.iterdir() if one.is_dir()]


@pytest.mark.parametrize("loss_on", ["all_turns", "last_turn"])
def test_what_is_shared_is_what_was_tokenised(reader: Reader, loss_on: str) -> None:
    spec = reader.spec(loss_on=loss_on)
    first, second, alone = reader.read(spec), reader.read(spec), reader.alone(spec)
    assert reader.count == 1
    assert alone.num_overlong
    assert_same(first, alone)
    assert isinstance(second.sequences, MappedSequences)
    assert_same(second, alone)
    assert [len(one.tokens) for one in second.sequences[-3:]] == [
        len(one.tokens) for one in alone.sequences[-3:]
    ]
    with pytest.raises(IndexError):
        second.sequences[len(second.sequences)]


def test_workers_that_start_together_tokenise_once(reader: Reader) -> None:
    spec = reader.spec()
    found: list[TrainingData] = []
    workers = [
        threading.Thread(target=lambda: found.append(reader.read(spec, pause_s=0.5)))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert reader.count == 1
    assert_same(found[0], found[2])


def test_what_changes_the_tokens_is_tokenised_anew(reader: Reader) -> None:
    reader.read(reader.spec())
    for changed in (
        {"limit": 64},
        {"loss_on": "last_turn"},
        {"system": "Be brief."},
        {"num_validation": 9},
    ):
        before = reader.count
        reader.read(reader.spec(**changed))
        assert reader.count == before + 1, changed
    reader.read(reader.spec(name="other"))
    assert reader.count == 5, "the task's name changes no token"


def test_a_damaged_file_is_written_anew(reader: Reader, root: Path) -> None:
    spec = reader.spec()
    reader.read(spec)
    [folder] = kept(root)
    whole = (folder / "tokens.npy").read_bytes()
    for name, content in (
        ("tokens.npy", whole[:-400]),
        ("tokens.npy", b""),
        (FACTS, b"{"),
        (FACTS, b'{"arrays": {}, "counts": {}}'),
    ):
        (folder / name).write_bytes(content)
        before = reader.count
        assert_same(reader.read(spec), reader.alone(spec))
        assert reader.count == before + 1, (name, content[:10])
    assert len(kept(root)) == 1


def test_a_worker_that_may_not_write_tokenises_for_itself(
    reader: Reader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    spec = reader.spec()
    assert_same(reader.read(spec), reader.alone(spec))
    [record] = caplog.records
    assert "so each worker tokenises the training examples" in record.getMessage()


def test_those_not_used_for_longest_go(reader: Reader, root: Path) -> None:
    reader.read(reader.spec())
    [first] = kept(root)
    for number in range(MOST_KEPT):
        (root / f"{number:064x}").mkdir()
        os.utime(root / f"{number:064x}", (number, number))
    reader.read(reader.spec(limit=200))
    assert len(kept(root)) == MOST_KEPT
    assert first.is_dir()
    assert not (root / f"{0:064x}").exists()


def test_a_trial_lets_go_of_its_training_texts(reader: Reader, root: Path) -> None:
    reading = read(reader.spec(), reader.tokenizer, None)
    assert isinstance(reading.data.sequences, MappedSequences)
    assert not reading.task.training_examples()
    assert len(reading.task.benchmarks[0].validation) == 8


def test_few_examples_are_not_kept(reader: Reader, root: Path) -> None:
    reader.read(reader.spec(num_train=LEAST_EXAMPLES - 1))
    assert not root.exists()
