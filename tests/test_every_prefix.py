"""Every command that reads a ledger works on it as it was after any of its events."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.ledger.reader import Ledger, recorded_sweep
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.present.contents.answers import answers
from droplora_sweep.present.contents.headline import next_step
from droplora_sweep.present.report.page import facts_of
from droplora_sweep.run.deciding import arm_summaries
from tests.ledgers import KINDS
from tests.replaying import (
    answer_or_say_why_not,
    export_what_is_best,
    prefixes,
    read_everything,
    show_elsewhere,
    turning_points,
)
from tests.test_winners_commands import adapter_files

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
    races = Ledger.open(tmp_path / "raced", "raced").record
    num_seeds = Counter(trial.arm for trial in races.confirm_trials)
    assert all(trial.raced for trial in races.confirm_trials)
    assert len(set(num_seeds.values())) > 1, "an arm was dropped"
    fork = Ledger.open(tmp_path / "fork", "fork").record
    assert any(trial.origin for trial in fork.trials)
    members = Ledger.open(tmp_path / "population", "population").records()
    assert any(trial.schedule for trial in members)
    again = Ledger.open(tmp_path / "retried", "retried").record
    assert {len(trial.failures) for trial in again.search_trials} == {0, 1, 2}
    assert [len(trial.failures) for trial in again.confirm_trials].count(1) == 1
    assert Ledger.open(tmp_path / "searched", "searched").record.num_starts == 2


def test_what_reads_a_ledger_reads_it_where_something_is_new(
    written: tuple[Path, str], call: Any, tmp_path: Path
) -> None:
    storage, name = written
    numbers = turning_points(storage, name)
    for number, copy in prefixes(storage, name, tmp_path):
        if number in numbers:
            read_everything(call, copy, name)
    export_what_is_best(call, copy, name, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("quarter", range(4))
def test_every_command_reads_the_ledger_after_every_event(
    written: tuple[Path, str], quarter: int, call: Any, tmp_path: Path
) -> None:
    storage, name = written
    for number, copy in prefixes(storage, name, tmp_path):
        if number % 4 == quarter:
            read_everything(call, copy, name)
            export_what_is_best(call, copy, name, tmp_path)
            show_elsewhere(call, copy, name, storage)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_driver_publishes_what_it_goes_on_with_from_every_turn(
    written: tuple[Path, str], tmp_path: Path
) -> None:
    from droplora_sweep.mlflow_view.publisher import MlflowPublisher

    storage, name = written
    numbers = turning_points(storage, name)
    for number, copy in prefixes(storage, name, tmp_path):
        if number in numbers:
            ledger = LedgerWriter.resume(copy, recorded_sweep(Ledger.open(copy, name).record))
            report = MlflowPublisher(ledger, summarise=arm_summaries).close()
            ledger.close()
            assert report.is_complete, report.error


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_winners_are_registered_from_every_turn_of_a_confirmation(
    call: Any, tmp_path: Path
) -> None:
    adapter = adapter_files(tmp_path / "adapter")
    storage = tmp_path / "results"
    KINDS["confirmed"](storage, adapter)
    numbers = turning_points(storage, "confirmed")
    for number, copy in prefixes(storage, "confirmed", tmp_path):
        if number in numbers:
            answer_or_say_why_not(call, "register", "confirmed", "--storage", copy)


def test_the_commands_that_are_told_next_are_valid(call: Any, tmp_path: Path) -> None:
    for name in ("searched", "confirmed"):
        storage = tmp_path / name
        KINDS[name](storage, ADAPTER)
        facts = facts_of(Ledger.open(storage, name))
        step = next_step(facts, answers(facts))
        words = shlex.split(step.command)
        assert words[:3] == ["droplora-sweep", "run", f"{storage}/{name}/sweep.yaml"]
        settings = [word for word in words[3:] if word.startswith(("confirm.", "confirm="))]
        assert settings
        for given in settings:
            code, printed, complaints = call("validate", words[2], "--set", given)
            assert (code, complaints) == (0, ""), complaints
            assert printed.startswith(f"{words[2]}: valid")
