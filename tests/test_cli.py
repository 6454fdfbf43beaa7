"""The command line: what is refused before anything starts, in one line and without traceback."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.cli.app import app
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.spec import load_sweep
from tests.ledger.conftest import Driver, make_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
QUICKSTART = str(ROOT / "search_spaces" / "quickstart.yaml")


def test_a_valid_file_is_said_to_be_valid(call: Callable[..., tuple[int, str, str]]) -> None:
    assert call("validate", QUICKSTART) == (0, f"{QUICKSTART}: valid\n", "")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("adapter.rnak=8", "adapter.rnak: unknown key, did you mean `rank`?"),
        ("adapter.rank=eight", "adapter.rank: must be an integer, got 'eight'"),
        ("adapter.dropout=1.5", "adapter.dropout: must be in [0, 1), got 1.5"),
        ("search.parameters.adapter.alpha={values: [0]}", "must be greater than 0, got 0"),
        (
            "search.parameters.adapter.pruning_rate={min: 0.6, max: 0.1}",
            "`min <= max` must hold, got min=0.6, max=0.1",
        ),
        ("search.parameters.adapter.pruning_rate={min: 0.0, max: 1.0}", "in [0, 1), got 1.0"),
        ("model.path=no/such/folder", "model.path: must be an existing folder"),
        ("task.benchmarks=[builtin_chess]", "unknown benchmark 'builtin_chess'"),
        ("task.num_validation=1001", "at most 1000 validation examples, got 1001"),
        ("adapter.target_modules=[q_proj, w_proj]", "got w_proj, which match none; it has "),
    ],
)
def test_bad_input_is_refused_with_place_field_rule_and_value(
    call: Callable[..., tuple[int, str, str]], override: str, complaint: str
) -> None:
    code, output, complaints = call("validate", QUICKSTART, "--set", override)
    assert code == 2
    assert output == ""
    for line in complaints.splitlines():
        assert line.startswith(f"--set {override}: ")
        assert complaint in line


def test_a_real_task_needs_data_and_says_how_to_give_it(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, complaints = call("run", QUICKSTART, "--set", "task.benchmarks=[boolq]")
    assert code == 2
    assert complaints.startswith(f"{QUICKSTART}:")
    assert ": task.data: must be given for boolq" in complaints
    assert "--set task.data=FOLDER" in complaints


def test_all_faults_of_model_task_and_targets_are_named_at_once(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    code, _, complaints = call(
        *("validate", QUICKSTART, "--set", f"model.path={folder}"),
        *("--set", "task.benchmarks=[builtin_chess]"),
    )
    assert code == 2
    assert [line.split(": ")[1] for line in complaints.splitlines()] == [
        "model.path",
        "task.benchmarks",
    ]


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_group_that_can_never_fit_is_refused(
    call: Callable[..., tuple[int, str, str]], command: str, tmp_path: Path
) -> None:
    settings = ["--set", "group.cpus_per_worker=4096", "--set", f"storage={tmp_path}"]
    code, _, complaints = call(command, QUICKSTART, *settings, "--address", "local")
    assert code == 2
    assert complaints.endswith(
        "group.num_workers: must be at most 0, as many workers of 4096 CPU as the cluster can "
        "hold, got 1\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_plan_begins_with_what_is_run_what_it_costs_and_what_fits(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    code, output, _ = call("plan", QUICKSTART, "--address", "local")
    assert code == 0
    first, runs, costs, fits, *_ = output.splitlines()
    assert first == "quickstart: droplora on builtin_noisy, builtin_math, over builtin"
    assert runs.startswith(
        "  runs   12 trials of at most 32 steps over rank, alpha, pruning_rate, learning_rate"
    )
    assert runs.endswith("; then 6 to 15 confirmation runs, which decide")
    assert costs == (
        "  costs  hours not known before `plan --calibrate`, which measures them in a few minutes; "
        "262.14k tokens a trial at most; 24.8 MB of disk at most"
    )
    assert fits == "  fits   needs up to 528.0 MB of memory per worker"
    assert "learning_rate: 0.0003" not in output
    rows = {
        line.split("│")[1].strip(): line.split("│")[2]
        for line in output.splitlines()
        if "│" in line
    }
    assert rows["trials"].split(",")[0].strip() == "12"
    assert "2 side by side, 1 worker each" in rows["groups"]
    assert "steps per trial" in rows
    assert "trainable parameters" in rows
    assert "disk" in rows


def test_the_whole_resolved_file_is_printed_on_request_and_is_the_same_sweep(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, output, _ = call("plan", QUICKSTART, "--address", "local", "--resolved")
    assert code == 0
    assert "learning_rate: 0.0003" in output
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(output)
    assert load_sweep(resolved) == load_sweep(QUICKSTART)


def test_a_plan_for_programs_has_its_numbers_and_the_resolved_file(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    _, output, _ = call("plan", QUICKSTART, "--address", "local", "--json")
    plan = json.loads(output)
    assert plan["num_trials"] == 12
    assert plan["num_confirmation_runs"] == [6, 15]
    assert plan["splits"]["builtin_math"]["confirmation"] == 120
    assert plan["gpu_hours"] is None
    assert plan["resolved"] == load_sweep(QUICKSTART).model_dump(mode="json")
    assert ["trials", "12, of a continuous space"] in plan["table"]["rows"]


@pytest.mark.parametrize("option", ["--resolved", "--json"])
def test_what_is_printed_for_programs_is_not_mixed_with_a_calibration(
    call: Callable[..., tuple[int, str, str]], option: str
) -> None:
    code, _, complaints = call("plan", QUICKSTART, "--calibrate", option)
    assert code == 2
    assert complaints.startswith(
        f"{option}: must be given without --calibrate, which prints as it goes"
    )


def test_without_a_command_the_first_steps_are_shown(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    code, output, complaints = call()
    assert (code, complaints) == (0, "")
    named = re.findall(r"^  droplora-sweep (\S+)", output, re.M)
    assert named == ["demo", "init", "examples", "--help"]
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(named[:-1]) <= known


def test_the_version_is_that_of_the_package(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    code, output, complaints = call("--version")
    assert (code, output, complaints) == (0, f"droplora-sweep {version('droplora-sweep')}\n", "")


def test_an_unknown_sweep_names_those_there_are(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    for command in ("status", "best"):
        code, _, complaints = call(command, "nope", "--storage", str(tmp_path))
        assert code == 1
        assert complaints == f"name: must be a sweep in {tmp_path}, got 'nope'; it has none\n"


def test_best_shows_each_rate_with_the_other_parameters_averaged_out(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    sweep = make_sweep("demo")
    ledger = LedgerWriter.create(tmp_path, sweep, data_digests={}, versions={})
    driver = Driver(ledger, sweep)
    for number in range(9):
        name = driver.start(number, pruning_rate=(number % 3) / 10)
        driver.report(name, 1, score=0.5)
        driver.finish(name)
    ledger.close()
    code, output, complaints = call("best", "demo", "--storage", str(tmp_path))
    assert (code, complaints) == (0, "")
    [line] = [line for line in output.splitlines() if "averaged out" in line]
    assert line.startswith(
        "choice, exploratory, other parameters averaged out (9 trials): p = 0 50.0% ["
    )


def test_the_ui_needs_a_store(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, complaints = call("ui", "--storage", str(tmp_path))
    assert code == 1
    assert complaints == f"--storage: must hold mlflow.db, got {tmp_path}\n"


def test_no_cluster_at_an_address_is_one_line(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, complaints = call("plan", QUICKSTART, "--address", "nonsense")
    assert code == 1
    assert complaints.startswith("--address: no Ray cluster answers at nonsense: ")
    assert complaints.count("\n") == 1


def test_the_schema_command_prints_the_shipped_schema(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    _, output, _ = call("schema")
    assert json.loads(output) == json.loads((ROOT / "search_spaces" / "schema.json").read_text())


@pytest.mark.parametrize("command", ["status", "best", "stop", "resume", "sync"])
def test_without_an_option_sweeps_are_looked_for_in_results(
    call: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    complaint = "name: must be a sweep in results, got 'nope'; it has none\n"
    assert call(command, "nope") == (1, "", complaint)


@pytest.mark.parametrize("place", ["results of 5 %", "a: b"])
def test_a_run_keeps_its_sweep_where_the_storage_option_says(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, place: str
) -> None:
    taken = tmp_path / place / "quickstart"
    taken.mkdir(parents=True)
    (taken / "notes.txt").touch()
    code, _, complaints = call("run", QUICKSTART, "--storage", str(taken.parent))
    assert code == 1
    assert complaints.startswith(f"name: must be new in {taken.parent}, got quickstart")
