"""The shipped search spaces are listed, and a copy of each is valid where it lies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from droplora_sweep.authoring.shipped import copy_space, find_space, shipped_spaces
from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep_file
from tests.calling import call

if TYPE_CHECKING:
    from droplora_sweep.authoring.shipped import ShippedSpace
    from droplora_sweep.spec import SweepSpec

FOLDER = Path(__file__).parents[2] / "search_spaces"
SPACES = shipped_spaces()


def test_every_search_space_is_listed_with_its_question(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, output, complaints = call(capsys, "examples")
    assert (code, complaints) == (0, "")
    files = {file for file in FOLDER.rglob("*.yaml") if file.parent.name != "parts"}
    tasks = {FOLDER / "study" / "arc_easy_answers.yaml"}
    assert {space.path for space in SPACES} == files - tasks
    assert SPACES[0].name == "quickstart"
    for space in SPACES:
        assert space.name in output
        assert space.question.endswith((".", "?"))
        assert space.question[:40] in output
    assert output.splitlines()[-1] == "copy one: droplora-sweep examples NAME"


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_a_copy_is_the_same_sweep_and_editors_find_its_schema(
    space: ShippedSpace, tmp_path: Path
) -> None:
    copy = tmp_path / "some folder" / "own.yaml"
    written = copy_space(space, copy)

    whole = load_sweep_file(space.path, needs_data=False, check_folders=False)
    copied = load_sweep_file(copy, needs_data=False, check_folders=False)
    assert content(copied.sweep) == content(whole.sweep)
    text = copy.read_text(encoding="utf-8")
    [schema] = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text, re.M)
    path = Path(unquote(urlsplit(schema).path))
    assert json.loads(path.read_text()) == json.loads((FOLDER / "schema.json").read_text())
    assert f"search_spaces/{space.name}" not in text
    assert f"droplora-sweep run {copy}" in text
    named = {copy.parent / name for name in re.findall(r"parts/\w+\.yaml", text)}
    tasks = {Path(name) for name in re.findall(r"lm_eval: ([^,}]+)", text)}
    functions = {task.with_suffix(".py") for task in tasks}
    assert set(written) == {copy, *named, *tasks, *functions}
    assert all(file.is_file() for file in written)


def content(sweep: SweepSpec) -> dict[str, Any]:
    """A sweep's values, with the names alone of the task files that are copied beside it."""
    text = json.dumps(sweep.model_dump(mode="json"))
    for benchmark in sweep.task.benchmark_specs.values():
        if benchmark.lm_eval is not None:
            text = text.replace(benchmark.lm_eval, Path(benchmark.lm_eval).name)
    return json.loads(text)


def test_a_copy_says_what_was_written_and_what_to_do_next(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, complaints = call(capsys, "examples", "quickstart")
    assert (code, complaints) == (0, "")
    assert output == "written: quickstart.yaml\nnext: droplora-sweep plan quickstart.yaml\n"
    assert (tmp_path / "quickstart.yaml").is_file()


def test_nothing_is_overwritten_and_nothing_written_in_part(tmp_path: Path) -> None:
    space = find_space("paper/table5")
    part = tmp_path / "parts" / "trainer.yaml"
    part.parent.mkdir()
    part.write_text("seed: 1\n")
    with pytest.raises(InputError) as caught:
        copy_space(space, tmp_path / "own.yaml")
    assert str(caught.value) == f"--output: must be new, got {part}, which exists"
    assert not (tmp_path / "own.yaml").exists()
    assert part.read_text() == "seed: 1\n"


def test_parts_that_are_there_already_are_shared(tmp_path: Path) -> None:
    copy_space(find_space("table5"), tmp_path / "first.yaml")
    written = copy_space(find_space("table5"), tmp_path / "second.yaml")
    assert written == (tmp_path / "second.yaml",)


def test_an_unknown_name_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, complaints = call(capsys, "examples", "quickstrat")
    assert code == 2
    known = ", ".join(space.name for space in SPACES)
    assert complaints.startswith(f"NAME: must be one of {known}, got quickstrat\n")
