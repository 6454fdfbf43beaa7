"""A look at this machine, with real files, servers and hangs."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.doctor.facts import Asked
from droplora_sweep.doctor.findings import Level
from droplora_sweep.doctor.looking import (
    LateError,
    data_digests,
    hub_problem,
    look,
    remove_marker,
    within,
    write_marker,
)
from droplora_sweep.doctor.mlflow_server import mlflow_finding
from droplora_sweep.spec import ModelSpec
from tests.raylets import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "s3cret-value"


@pytest.fixture
def server() -> Iterator[str]:
    """A server that asks for a login as MLflow's does."""

    class Answering(http.server.BaseHTTPRequestHandler):
        """Answers those that give a login."""

        def do_GET(self) -> None:
            """Answer."""
            self.send_response(200 if self.headers["Authorization"] else 401)
            self.end_headers()
            self.wfile.write(b"{}")

        def do_HEAD(self) -> None:
            """Answer without content."""
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_what_hangs_is_given_up() -> None:
    begun = time.monotonic()
    with pytest.raises(LateError, match=r"no answer within 0\.2 s"):
        within(0.2, lambda: time.sleep(30))
    assert time.monotonic() - begun < 10


def test_storage_is_seen_where_the_driver_wrote_and_left_as_it_was(tmp_path: Path) -> None:
    storage = tmp_path / "results"
    assert write_marker(str(storage), ".doctor-1") is None
    asked = Asked(storage=str(storage), marker=".doctor-1", is_quick=True)
    facts = look(asked, "here")
    assert (facts.sees_storage, facts.storage_problem) == (True, None)
    elsewhere = look(Asked(storage=str(tmp_path), marker=".doctor-1", is_quick=True), "here")
    assert not elsewhere.sees_storage
    assert [path.name for path in storage.iterdir()] == [".doctor-1"]
    remove_marker(str(storage), ".doctor-1", with_folder=False)
    assert list(storage.iterdir()) == []
    remove_marker(str(storage), ".doctor-1", with_folder=True)
    assert not storage.exists()


def test_storage_by_url_is_seen_too(tmp_path: Path) -> None:
    url = (tmp_path / "results").as_uri()
    assert write_marker(url, ".doctor-1") is None
    facts = look(Asked(storage=url, marker=".doctor-1", is_quick=True), "here")
    assert (facts.sees_storage, facts.storage_problem) == (True, None)
    remove_marker(url, ".doctor-1", with_folder=False)
    assert list((tmp_path / "results").iterdir()) == []


def test_a_storage_that_cannot_be_made_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_marker(str(tmp_path / "file" / "results"), ".doctor-1") == "Not a directory"


def test_models_and_data_have_digests_and_what_is_missing_its_reason(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("[]")
    asked = Asked(
        model=ModelSpec(),
        data={"task.data": str(tmp_path), "task.train.data": str(tmp_path / "gone")},
        asks_hub=False,
        variables=("DROPLORA_TEST_KEY",),
    )
    facts = look(asked, "here")
    assert set(facts.digests) == {"model.path", "task.data"}
    assert set(facts.digests["task.data"]) == {"train.json"}
    assert facts.missing == {"task.train.data": f"{tmp_path / 'gone'} is not there"}
    assert facts.is_set == {"DROPLORA_TEST_KEY": False}
    assert facts.free_bytes
    before = facts.digests["task.data"]
    (tmp_path / "train.json").write_text("[1]")
    assert data_digests(tmp_path) != before


def test_the_hub_is_asked_where_its_endpoint_is(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", server)
    assert hub_problem() is None
    [port] = free_ports(1)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    problem = hub_problem()
    assert problem is not None
    assert "refused" in problem
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_problem() is None


def test_mlflow_is_asked_with_the_login_that_is_set(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    assert mlflow_finding(server).text == "HTTP 401: asks for a login"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    assert mlflow_finding(server).level is Level.OK
    [port] = free_ports(1)
    away = mlflow_finding(f"http://127.0.0.1:{port}")
    assert (away.level, away.check) == (Level.FAULT, "MLflow")
    assert away.text.startswith("no answer: ")
    assert SECRET not in repr(away)


@pytest.mark.slow
def test_the_command_fails_on_a_fault_alone(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = ["doctor", "search_spaces/quickstart.yaml", "--address", "local"]
    storage = ["--set", f"storage={tmp_path / 'results'}"]
    code, output, complaints = call(*words, *storage, "--json")
    assert complaints == ""
    found = {one["check"]: one["level"] for one in json.loads(output)}
    assert code == int("fault" in found.values())
    assert {"torch", "bfloat16", "attention", "deepspeed", "all-reduce"} <= set(found)
    assert {found[part] for part in ("torch", "attention", "deepspeed", "all-reduce")} == {"ok"}
    assert SECRET not in output
    code, output, _ = call(*words, *storage, "--set", "group.num_workers=9")
    assert code == 1
    assert "must be at most" in output
    assert list(tmp_path.iterdir()) == []
