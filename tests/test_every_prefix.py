"""Every command that reads a ledger works on it as it was after any of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.tracking import Ledger
from tests.ledgers import KINDS
from tests.replaying import export_all, prefixes, read_everything, turning_points

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}


@pytest.fixture(scope="module", params=sorted(KINDS))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A storage with a sweep of each kind, and its name."""
    storage = tmp_path_factory.mktemp("ledgers") / "results"
    KINDS[request.param](storage, ADAPTER)
    return storage, request.param


def test_each_kind_has_what_it_is_for(tmp_path: Path) -> None:
    for name, write in KINDS.items():
        write(tmp_path / name, ADAPTER)
    record = Ledger.open(tmp_path / "confirmed", "confirmed").record
    assert len({trial.spec["seed"] for trial in record.confirm_trials}) > 3, "several looks"
    assert any(trial.state == "FAILED" for trial in record.confirm_trials)
    assert any(trial.is_tested for trial in record.trials)
    fork = Ledger.open(tmp_path / "fork", "fork").record
    assert any(trial.origin for trial in fork.trials)
    members = Ledger.open(tmp_path / "population", "population").records()
    assert any(trial.schedule for trial in members)
    assert Ledger.open(tmp_path / "searched", "searched").record.num_starts == 2


def test_every_command_reads_the_ledger_where_something_is_new(
    written: tuple[Path, str], call: Any, tmp_path: Path
) -> None:
    storage, name = written
    numbers = turning_points(storage, name)
    for number, copy in prefixes(storage, name, tmp_path):
        if number in numbers:
            read_everything(call, copy, name)
    export_all(call, copy, name, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_reads_the_ledger_after_every_event(
    written: tuple[Path, str], call: Any, tmp_path: Path
) -> None:
    storage, name = written
    for _, copy in prefixes(storage, name, tmp_path):
        read_everything(call, copy, name)
        export_all(call, copy, name, tmp_path)
        code, _, complaints = call("report", name, "--storage", copy)
        assert (code, complaints) == (0, ""), complaints
