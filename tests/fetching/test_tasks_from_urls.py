"""A sweep's data behind URLs: named by their URL, known by their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.plan.survey import prepare
from droplora_sweep.spec import SweepSpec, load_sweep_file
from droplora_sweep.spec.trial import fingerprint, package_versions
from droplora_sweep.storage.object_store import below

from .conftest import ROWS, reply
from .test_stores import put

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.plan.survey import Prepared

    from .conftest import Web


def space(folder: Path, data: str, more: str = "") -> Path:
    file = folder / "s.yaml"
    file.write_text(
        "name: q\n"
        f"task: {{num_validation: 4, benchmarks: {{mine: {{data: '{data}', scoring: exact"
        f"{more}}}}}}}\n"
        "search: {parameters: {adapter.pruning_rate: {values: [0.5]}}}\n"
        "evaluation: {max_new_tokens: 8}\n"
    )
    return file


def refusal(file: Path) -> list[str]:
    with pytest.raises(InputError) as raised:
        prepare(load_sweep_file(file))
    return str(raised.value).splitlines()


def fingerprint_of(prepared: Prepared) -> str:
    return fingerprint(prepared.sweep, prepared.data_digests(), package_versions(), num_workers=1)


def test_the_address_does_not_count_and_the_content_does(web: Web, tmp_path: Path) -> None:
    body = [ROWS]
    for path in ("/a.jsonl", "/b.jsonl"):
        web.answers[path] = lambda to: reply(to, body[0])
    here = [
        prepare(load_sweep_file(space(tmp_path, web.url(path))))
        for path in ("/a.jsonl", "/b.jsonl")
    ]
    first, second = map(fingerprint_of, here)
    assert first == second
    body[0] = ROWS.replace(b'"11."', b'"12."')
    third = prepare(load_sweep_file(space(tmp_path, web.url("/a.jsonl"))))
    assert fingerprint_of(third) != first


def test_workers_read_what_the_driver_read(web: Web, tmp_path: Path) -> None:
    """The sweep that they are given names the content, so that no server is asked again."""
    web.answers["/rows.jsonl"] = lambda to: reply(to, ROWS)
    file = space(tmp_path, web.url("/rows.jsonl"))
    prepared = prepare(load_sweep_file(file))
    [(_, spec)] = prepared.sweep.task.benchmark_specs.items()
    assert (spec.data or "").startswith("http://127.0.0.1")
    assert (spec.revision or "").startswith("sha256:")
    again = SweepSpec.model_validate_json(prepared.sweep.model_dump_json())
    num_asked = len(web.asked)
    web.answers.clear()
    from droplora_sweep.tasks.loading import load_task

    assert load_task(again.task).digests == prepared.task.digests
    assert len(web.asked) == num_asked


def test_faults_name_the_url_and_not_its_copy(web: Web, tmp_path: Path) -> None:
    web.answers["/rows.jsonl"] = lambda to: reply(to, ROWS + b'\n{"instruction": 3}')
    url = web.url("/rows.jsonl")
    lines = refusal(space(tmp_path, f"{url}?version=2"))
    place = f"{tmp_path}/s.yaml:2: task.benchmarks.mine.data: {url}:13"
    assert lines[0] == (
        f"{place}: output: is missing; every record needs instruction, output, answer"
    ) or lines[0].startswith(f"{place}: instruction: must be text, got 3")
    web.answers.clear()
    assert refusal(space(tmp_path, url)) == [
        f"{tmp_path}/s.yaml:2: task.benchmarks.mine.data: {url}: cannot be read: the server "
        "answers 404: there is no such file"
    ]


def test_a_folder_of_a_bucket_with_its_splits(s3_url: str, tmp_path: Path) -> None:
    lines = ROWS.splitlines()
    put(below(s3_url, "mine/train.jsonl"), b"\n".join(lines[:8]))
    put(below(s3_url, "mine/test.jsonl"), b"\n".join(lines[8:]))
    file = tmp_path / "shared.yaml"
    file.write_text(
        "name: q\n"
        f"task: {{num_validation: 4, benchmarks: [mine], scoring: exact, data: '{s3_url}'}}\n"
        "search: {parameters: {adapter.pruning_rate: {values: [0.5]}}}\n"
        "evaluation: {max_new_tokens: 8}\n"
    )
    for each in (file, space(tmp_path, below(s3_url, "mine"))):
        [benchmark] = prepare(load_sweep_file(each)).task.benchmarks
        assert (len(benchmark.train), benchmark.num_test) == (4, 4)


REFUSED: dict[str, tuple[str, str, str]] = {
    "ftp": (
        "ftp://host/x.json",
        "",
        "data: must be a URL of https, s3 or gs, a path or a Hub id, ",
    ),
    "file": ("file:///x.json", "", "data: must be a path, or a URL of https, s3 or gs, got file:"),
    "no host": ("https://", "", "data: must name a host or a bucket after ://, got https://"),
    "branch": (
        "https://host/x.json",
        ", revision: main",
        "revision: must be sha256: and 64 hex digits, or left out, got 'main'",
    ),
    "configuration": (
        "x.json",
        ", configuration: main",
        "configuration: must be left out unless `data` is a Hub id, got 'main'",
    ),
    "part of a file": (
        "x.json",
        ", splits: {train: 'train[:5]'}",
        "splits.train: must be a split name, got 'train[:5]'",
    ),
    "signed": (
        "https://host/x.json?X-Amz-Signature=tulip",
        "",
        "data: must not hold a secret, got a URL with a key",
    ),
    "password": (
        "https://ann:tulip@host/x.json",
        "",
        "data: must not hold a secret, got a URL with a password",
    ),
}


@pytest.mark.parametrize(("data", "more", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_url_can_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, more: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError) as raised:
        load_sweep_file(space(tmp_path, data, more))
    [line] = str(raised.value).splitlines()
    assert line.startswith(f"{tmp_path}/s.yaml:2: task.benchmarks.mine.{problem}")
    assert "tulip" not in line


def test_a_web_server_has_no_folders(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: q\ntask: {benchmarks: [boolq], data: 'https://host/folder'}\n")
    with pytest.raises(InputError) as raised:
        load_sweep_file(file)
    assert str(raised.value).startswith(
        f"{file}:2: task.data: must be a folder, a bucket's URL or a Hub id, got a web server's URL"
    )


def test_new_fields_leave_no_mark_at_their_defaults() -> None:
    given: dict[str, Any] = {"mine": {"scoring": "exact", "data": "x.json"}}
    sweep = SweepSpec.model_validate(
        {
            "name": "q",
            "task": {"benchmarks": given, "train": {"name": "t"}},
            "search": {"parameters": {}},
        }
    )
    fields = sweep.task.model_dump(mode="json")
    for section in (fields["train"], fields["benchmark_specs"]["mine"]):
        assert not {"configuration", "splits"} & section.keys()
    assert sweep.task.canonical() == fields
