"""Every error that a user meets ends with the command that helps next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep import errors
from droplora_sweep.cli import main
from droplora_sweep.cli.next_step import next_line
from droplora_sweep.errors import DropLoRASweepError, Fault, InputError, SweepError
from tests.calling import COMMANDS, NEXT

if TYPE_CHECKING:
    from pathlib import Path


def every_error() -> list[type[DropLoRASweepError]]:
    """The error types, those of other modules that are imported included."""
    found: list[type[DropLoRASweepError]] = [DropLoRASweepError]
    for one in found:
        found += one.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("words", [["status", "first"], ["run", "s.yaml"], [], ["--help"]])
def test_every_type_of_error_leads_to_a_command(
    kind: type[DropLoRASweepError], words: list[str]
) -> None:
    problem = [Fault("", "field", "must be another")] if issubclass(kind, InputError) else "failed"
    error = kind(problem)
    line = next_line(error, words)
    assert line is not None
    found = NEXT.search(f"{line}\n")
    assert found is not None
    assert found["words"].split()[0] in COMMANDS
    assert next_line(error.leading_to("status mine"), words) == "next: droplora-sweep status mine"


def test_the_types_are_those_of_the_module() -> None:
    assert {errors.InputError, errors.SweepError, errors.TrialError} <= set(every_error())


FILE_FAULT = InputError([Fault("a b.yaml:3", "adapter.rank", "must be greater than 0, got 0")])
SET_FAULT = InputError([Fault("--set adapter.rank=0", "adapter.rank", "must be greater than 0")])
OPTION_FAULT = InputError.of("--gpu", "must be one of T4, got T5")


@pytest.mark.parametrize(
    ("error", "words", "line"),
    [
        (FILE_FAULT, ["run", "other.yaml"], "validate 'a b.yaml'"),
        (SET_FAULT, ["run", "s.yaml", "--set", "adapter.rank=0"], "validate s.yaml"),
        (OPTION_FAULT, ["plan", "s.yaml", "--gpu", "T5"], "plan --help"),
        (SweepError("no trial is complete"), ["best", "first"], "status first"),
        (
            SweepError("no trial is complete"),
            ["best", "--json", "first", "--storage", "s3://b"],
            "status first --storage s3://b",
        ),
        (SweepError("its log is damaged"), ["status", "first"], "status --help"),
        (SweepError("Ray does not start"), ["run", "s.yaml"], "run --help"),
    ],
)
def test_the_command_follows_from_what_went_wrong(
    error: DropLoRASweepError, words: list[str], line: str
) -> None:
    assert next_line(error, words) == f"next: droplora-sweep {line}"


def test_a_text_that_names_a_command_needs_no_other() -> None:
    assert next_line(SweepError("stopped; resume it: droplora-sweep resume first"), []) is None


@pytest.mark.parametrize(
    ("sweeps", "line"),
    [((), "demo"), (("first", "zebra"), "status first --storage {storage}")],
)
def test_an_unknown_sweep_leads_to_one_that_there_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sweeps: tuple[str, ...],
    line: str,
) -> None:
    for name in sweeps:
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.jsonl").touch()
    with pytest.raises(SystemExit) as end:
        main(["best", "fir", "--storage", str(tmp_path)])
    assert end.value.code == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("name: must be a sweep in ")
    assert last == f"next: droplora-sweep {line.format(storage=tmp_path)}"
