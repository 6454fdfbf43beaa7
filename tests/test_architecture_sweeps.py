"""Two trials of each current architecture by a whole sweep, and of one from a Hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome
from tests.faults.sweeping import NAME, ONE_GROUP, TINY, command, start, to_end
from tests.loopback_hub import COMMIT, Hub, hub_environment, serving
from tests.training.architectures import CONFIGS, make
from tests.training.byte_model import make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

MARK = "architectures"
NAMES = (
    *("llama", "qwen3", "gemma3", "mistral", "phi3"),
    *("gpt2", "falcon", "mixtral", "qwen3_moe", "olmo2"),
)
SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": 2,
    "task.num_train": 16,
    "task.num_validation": 4,
    "training.epochs": 2,
    "training.micro_batch_size": "auto",
    "training.max_sequence_tokens": 496,
    "evaluation.max_new_tokens": 2,
}


def save(name: str, folder: Path) -> None:
    make(name).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def sweep(
    name: str, storage: Path, model: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> str:
    """Sweep two trials; the driver's output."""
    _, targets = CONFIGS[name]
    settings = {
        **SETTINGS,
        **{f"model.{field}": value for field, value in model.items()},
        "adapter.target_modules": json.dumps(targets),
    }
    code, output = to_end(start(command(storage, **settings), MARK, environment))
    assert code == 0, output
    ledger = Ledger.open(storage, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    records = ledger.search_records()
    assert len(records) == 2
    assert {one.trial_spec.training.micro_batch_size for one in records} == {8}
    assert "training.micro_batch_size: auto is 8 sequences a forward pass here" in output
    assert all(record.adapter is not None for record in records)
    return output


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep(tmp_path: Path, name: str) -> None:
    save(name, tmp_path / "model")
    sweep(name, tmp_path / "storage", {"path": str(tmp_path / "model")})


def test_a_sweep_of_a_hub_model(tmp_path: Path) -> None:
    """The driver reads the weights' header, and a worker downloads them, which it tells of."""
    save("llama", tmp_path / "model")
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    weights = "model.safetensors"
    with serving(Hub("models", "owner/tiny", files)) as hub:
        environment = hub_environment(hub.url, tmp_path)
        model = {"path": "owner/tiny", "revision": COMMIT}
        output = sweep("llama", tmp_path / "storage", model, environment)
        header = 8 + int.from_bytes(files[weights][:8], "little")
    whole = len(files[weights])
    assert whole <= hub.sent[weights] <= whole + 2 * max(header, 100_000), hub.sent
    told = f"group g0: downloading owner/tiny at {COMMIT[:12]}: 0 of 0 MB are here\n"
    assert output.count(told) == 1
