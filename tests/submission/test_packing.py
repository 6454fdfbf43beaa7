"""Packing of a job: what goes along, what never does, and what is refused before it is sent."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep import private_api
from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.plan.absolute_paths import local_paths, with_absolute_paths
from droplora_sweep.spec import load_sweep_file
from droplora_sweep.storage.job_inputs import FOLDER, MANIFEST, place_inputs
from droplora_sweep.submission.packing import pack, require_lasting
from tests.plugin.test_own_code import write_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.submission.packing import Packed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a sweep that names data, scorers and a program by relative paths."""
    folder = tmp_path / "here"
    folder.mkdir()
    write_sweep(folder, "length")
    monkeypatch.chdir(folder)
    return folder


def packed(into: Path, *settings: str, takes_inputs: bool = True) -> Packed:
    into.mkdir(exist_ok=True)
    file = load_sweep_file("own.yaml", settings, check_folders=False)
    return pack(file, "own.yaml", into, takes_inputs=takes_inputs)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_named_by_relative_paths_goes_along(here: Path, tmp_path: Path) -> None:
    job = tmp_path / "job"
    found = packed(job)
    assert {one.local.field: one.local.given for one in found.inputs} == {
        "task.benchmarks.first.data": "mine.jsonl",
        "task.benchmarks.first.scoring": "own_metrics:length",
        "task.benchmarks.second.data": "more.jsonl",
        "task.benchmarks.second.command[1]": "score.py",
    }
    # The interpreter is that of the nodes.
    [python] = found.expected
    assert python.field == "task.benchmarks.second.command[0]"
    manifest = json.loads((job / FOLDER / MANIFEST).read_text())
    python_and_script = manifest["fields"].pop("task.benchmarks.second.command")
    assert python_and_script == [python.given, "job_inputs:3-score.py"]
    assert manifest["fields"] == {
        "task.benchmarks.first.data": "job_inputs:0-mine.jsonl",
        "task.benchmarks.first.scoring": "job_inputs:1-own_metrics.py:length",
        "task.benchmarks.second.data": "job_inputs:2-more.jsonl",
    }
    copies = job / FOLDER / manifest["digest"]
    assert files(copies) == {"0-mine.jsonl", "1-own_metrics.py", "2-more.jsonl", "3-score.py"}
    assert (copies / "0-mine.jsonl").read_bytes() == (here / "mine.jsonl").read_bytes()
    assert (job / "droplora_sweep" / "models" / "builtin" / "config.json").is_file()
    assert json.loads((job / "own.yaml").read_text())["name"] == "own"
    assert found.size_bytes == sum(
        path.stat().st_size
        for folder in (copies, job / "droplora_sweep")
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_caches_environments_and_secrets_stay_here(here: Path, tmp_path: Path) -> None:
    model = here / "model"
    for name in (".venv/x", ".git/config", ".env", "id_rsa", "tls.key", "config.json", "a/b.txt"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text("{}")
    packed(tmp_path / "job", "model.path=./model")
    [copy] = (tmp_path / "job" / FOLDER).rglob("*-model")
    assert files(copy) == {"config.json", "a/b.txt"}
    assert not list((tmp_path / "job" / "droplora_sweep").rglob("__pycache__"))


def test_relative_paths_are_refused_unless_they_go_along(here: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        packed(tmp_path / "job", takes_inputs=False)
    faults = {fault.field: str(fault) for fault in caught.value.faults}
    assert set(faults) == {
        "task.benchmarks.first.data",
        "task.benchmarks.first.scoring",
        "task.benchmarks.second.data",
        "task.benchmarks.second.command[1]",
    }
    size = f"{(here / 'mine.jsonl').stat().st_size / 1e6:.1f} MB"
    assert faults["task.benchmarks.first.data"].startswith("own.yaml:5: ")
    assert faults["task.benchmarks.first.data"].endswith(
        "must be an absolute path that all nodes have, a URL or a Hub id, or go along with --ship, "
        f"got mine.jsonl ({size}), which is this machine's"
    )
    (here / "more.jsonl").unlink()
    with pytest.raises(InputError, match="must be there to go along with the job, got more"):
        packed(tmp_path / "job")


def test_too_much_is_refused_before_it_is_copied(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (here / "mine.jsonl").open("r+b") as file:
        file.truncate(private_api.upload_limit())
    with pytest.raises(InputError) as caught:
        packed(tmp_path / "job")
    assert str(caught.value).startswith(
        "--ship: must be less than 536.9 MB in all, which Ray takes"
    )
    assert "(task.benchmarks.first.data 536.9 MB, " in str(caught.value)
    assert not list((tmp_path / "job").iterdir())


def test_the_paths_that_go_along_are_those_that_workers_would_read(
    here: Path, tmp_path: Path
) -> None:
    """A field that is made absolute for workers and is not looked at here would be lost."""
    (here / "judge.jsonl").write_text("{}\n")
    (here / "held.txt").write_text("text")
    (here / "sampler.py").write_text("class Mine: ...\n")
    (here / "small").mkdir()
    (here / "train.jsonl").write_text("{}\n")
    settings = {
        "model.path": "./model",
        "task.data": "./data",
        "task.train": {"data": "train.jsonl", "name": "mine"},
        "task.scoring": "own_metrics.py:length",
        "evaluation.held_out_text": "held.txt",
        "evaluation.judge": {
            **{"url": "http://127.0.0.1:1/v1", "model": "m", "prompts": "judge.jsonl"},
            "references": "judge.jsonl",
        },
        "search.sampler": {"kind": "optuna", "class": "sampler.py:Mine"},
        "search.fidelity": {"model.path": "./small"},
    }
    for name in ("model", "data"):
        (here / name).mkdir()
    given = [f"{field}={json.dumps(value)}" for field, value in settings.items()]
    given += ["confirm={rates: 1, seeds: 3}", "search.num_trials=2"]
    sweep = load_sweep_file("own.yaml", given, check_folders=False).sweep
    changed = _changed(sweep.model_dump(), with_absolute_paths(sweep, {}).model_dump())
    ours = {_key(one.field) for one in local_paths(sweep)}
    # A module of the working folder has no path; the interpreter's was absolute before.
    ours -= {_key("task.benchmarks.first.scoring"), _key("task.benchmarks.second.command[0]")}
    # The judge's cache is the nodes' own.
    assert changed - {"evaluation.judge.cache"} == ours


def _key(field: str) -> str:
    """The field in a dump."""
    name = field.replace("task.benchmarks.", "task.benchmark_specs.")
    return name.replace("[", ".").replace("]", "")


def _changed(one: Any, other: Any, path: str = "") -> set[str]:
    """Paths of the values in which two dumps differ."""
    if isinstance(one, dict):
        pairs = [(f"{path}.{key}", value, other[key]) for key, value in one.items()]
    elif isinstance(one, list | tuple):
        pairs = [
            (f"{path}.{place}", *both) for place, both in enumerate(zip(one, other, strict=True))
        ]
    else:
        return {path.removeprefix(".")} if one != other else set()
    return set().union(*(_changed(a, b, key) for key, a, b in pairs))


def test_what_a_job_brought_lies_where_its_content_says(here: Path, tmp_path: Path) -> None:
    packed(tmp_path / "job")
    folder = tmp_path / "job" / FOLDER
    place = place_inputs(folder, tmp_path)
    assert place is not None
    assert place.parent == tmp_path / f"droplora-inputs-{os.getuid()}"
    assert (place / "0-mine.jsonl").read_bytes() == (here / "mine.jsonl").read_bytes()
    # The same content has the same place, from any job; other content another one.
    packed(tmp_path / "again")
    assert place_inputs(tmp_path / "again" / FOLDER, tmp_path) == place
    (here / "score.py").write_text("print(1)")
    packed(tmp_path / "other")
    assert place_inputs(tmp_path / "other" / FOLDER, tmp_path) != place
    assert {one.name[0] for one in place.parent.iterdir()} != {"."}


@pytest.mark.parametrize("how", ["link", "open to all"])
def test_a_place_that_another_user_could_write_to_is_refused(
    here: Path, tmp_path: Path, how: str
) -> None:
    packed(tmp_path / "job")
    own = tmp_path / f"droplora-inputs-{os.getuid()}"
    if how == "link":
        (tmp_path / "elsewhere").mkdir()
        own.symlink_to(tmp_path / "elsewhere")
    else:
        own.mkdir()
        own.chmod(0o777)
    with pytest.raises(SweepError, match="must be a folder of user"):
        place_inputs(tmp_path / "job" / FOLDER, tmp_path)


def test_a_storage_in_the_jobs_folder_is_refused() -> None:
    require_lasting("/home/ray/results")
    require_lasting("s3://bucket/sweeps")
    with pytest.raises(InputError, match="must be an absolute path of the head node"):
        require_lasting("results")
