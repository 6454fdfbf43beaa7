"""The server of the page: who may read, who may ask, and what every answer says of itself."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.ledger.following import Follower
from droplora_sweep.ledger.requests import Answer, Mailbox
from droplora_sweep.present.watch.server import WatchServer, names_server
from droplora_sweep.records.layout import EVENTS, STOP_REQUEST

from .conftest import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ledgers import Driver

    from .conftest import Client


@pytest.fixture
def client(driver: Driver, tmp_path: Path) -> Iterator[Client]:
    driver.run(0.2)
    with served(tmp_path) as found:
        yield found


def test_the_page_needs_the_token_that_the_command_shows(client: Client) -> None:
    assert client.get().status == 200
    assert f"token={client.token}" in client.server.address
    assert len(client.token) >= 20
    for path in ("/", "/trial", "/nothing"):
        for query in ({}, {"token": ""}, {"token": client.token[:-1]}, {"token": "é"}):
            answer = client.get(path, query)
            assert answer.status == 403, (path, query)
            assert "demo" not in answer.text
            assert "open the address that it printed" in answer.text
    assert client.get("/nothing").status == 404
    assert client.get("/trial", {"token": client.token, "id": "t9"}).status == 404


def test_a_foreign_name_that_leads_here_is_refused(client: Client) -> None:
    """DNS rebinding: the browser believes that the page is the attacker's own."""
    for host in (
        "evil.example",
        "evil.example:5100",
        "localhost.evil.example",
        "",
        "[",
        "192.0.2.1",
    ):
        assert client.get(Host=host).status == 421, host
        assert client.post({"action": "stop"}, Host=host).status == 421, host
    for host in ("localhost", "localhost:9000", "127.0.0.1:9000", "[::1]:80"):
        assert client.get(Host=host).status == 200, host


def test_names_of_a_server_that_other_machines_reach() -> None:
    for host in ("192.0.2.7:5100", "[2001:db8::1]:5100", "gpu-box", "localhost:1"):
        assert names_server(host, "gpu-box"), host
    assert not names_server("evil.example", "gpu-box")
    assert not names_server("evil.example", "0.0.0.0")
    assert not names_server(None, "127.0.0.1")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "https://127.0.0.1", "http://localhost:1"]
)
def test_only_the_page_itself_may_ask(
    client: Client, driver: Driver, tmp_path: Path, origin: str
) -> None:
    answer = client.post({"action": "stop"}, Origin=origin)
    assert answer.status == 403
    assert "must be asked for on the page itself" in answer.text
    assert not (tmp_path / "demo" / STOP_REQUEST).exists()
    assert client.post({"action": "stop", "token": "guess"}).status == 403
    assert not (tmp_path / "demo" / STOP_REQUEST).exists()


def test_a_request_reaches_the_driver_and_its_answer_the_page(
    client: Client, driver: Driver, tmp_path: Path
) -> None:
    name = driver.start(0.4)
    events = (tmp_path / "demo" / EVENTS).read_bytes()
    box = Mailbox(driver.ledger.directory, driver.ledger.holder.token)
    taken = []

    def drive() -> None:
        deadline = time.monotonic() + 20
        while not taken and time.monotonic() < deadline:
            for request in box.take():
                taken.append(request)
                box.answer(request, Answer(True, f"{request.trial_id}: done <so>"))
            time.sleep(0.02)

    thread = threading.Thread(target=drive)
    thread.start()
    answer = client.post({"action": "pin", "trial": name})
    thread.join()
    assert answer.status == 303
    assert answer.headers["Location"] == f"/?token={client.token}"
    [request] = taken
    assert (request.ask, request.trial_id) == ("pin", name)
    page = client.get().text
    assert f"pin {name}: {name}: done &lt;so&gt;" in page
    # The page asks; only the driver writes to the ledger.
    assert (tmp_path / "demo" / EVENTS).read_bytes() == events


def test_the_sweep_is_stopped_as_by_the_command(
    client: Client, driver: Driver, tmp_path: Path
) -> None:
    assert client.post({"action": "stop"}).status == 303
    assert (tmp_path / "demo" / STOP_REQUEST).read_text() == driver.ledger.holder.token
    assert "stop: asked its driver to stop (" in client.get().text


def test_what_is_refused_is_told_on_the_page(client: Client, driver: Driver) -> None:
    client.post({"action": "stop-trial", "trial": "t0042"})
    client.post({"action": "burn", "trial": "t0000"})
    page = client.get().text
    assert "stop-trial t0042: trial: must be one of demo&#39;s, got t0042" in page
    assert "action: must be one of pin, stop-trial, clone, stop, got &#39;burn&#39;" in page
    driver.ledger.close()
    client.post({"action": "pin", "trial": "t0000"})
    assert "got demo, which has no driver" in client.get().text


def test_a_clone_with_faults_comes_back_with_what_was_filled_in(
    client: Client, driver: Driver
) -> None:
    trial = driver.ledger.records()[0].trial_id
    settings = "adapter.rank=0\r\n\r\ntraining.lernrate=<1>"
    answer = client.post({"action": "clone", "trial": trial, "settings": settings})
    assert answer.status == 422
    assert "adapter.rank: must be at least 1, got 0" in answer.text
    assert "training.lernrate=&lt;1&gt;</textarea>" in answer.text
    assert "<1>" not in answer.text


def test_a_page_for_other_machines_only_shows_unless_it_is_told_to_steer(
    driver: Driver, tmp_path: Path
) -> None:
    driver.start(0.2)
    with served(tmp_path, host="0.0.0.0") as client:
        client.host = f"127.0.0.1:{client.server.server_port}"
        page = client.get().text
        assert "This page only shows" in page
        assert "<form" not in page
        assert client.post({"action": "stop"}).status == 403
        assert not (tmp_path / "demo" / STOP_REQUEST).exists()
    with served(tmp_path, host="0.0.0.0", can_control=True) as client:
        client.host = f"127.0.0.1:{client.server.server_port}"
        assert "<form" in client.get().text
    with served(tmp_path, can_control=False) as client:
        assert "<form" not in client.get().text


def test_every_answer_forbids_scripts_frames_and_caches(client: Client) -> None:
    answers = [
        client.get(),
        client.get("/style.css", {}),
        client.get("/script.js", {}),
        client.get("/", {}),
        client.get("/nothing"),
        client.post({"action": "stop"}),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Set-Cookie" not in answer.headers
        assert "Python" not in answer.headers["Server"]


def test_a_page_that_is_as_before_is_not_sent_again(client: Client, driver: Driver) -> None:
    deadline = time.monotonic() + 60
    first = client.get()
    while client.get(If_None_Match=first.headers["ETag"]).status != 304:
        # The answer was worked out, or an hour's last digit has changed.
        assert time.monotonic() < deadline
        first = client.get()
    assert client.get(If_None_Match=first.headers["ETag"]).text == ""
    driver.start(0.4)
    deadline = time.monotonic() + 20
    while (again := client.get(If_None_Match=first.headers["ETag"])).status == 304:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert again.status == 200


def test_a_long_page_is_sent_compressed(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.server.server_port, timeout=60)
    path = f"/?token={client.token}"
    connection.request("GET", path, headers={"Accept-Encoding": "gzip", "Host": client.host})
    answer = connection.getresponse()
    assert answer.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(answer.read()).startswith(b"<!DOCTYPE html>")
    connection.close()


def test_bodies_that_are_no_form_are_refused(client: Client) -> None:
    assert client.post({"action": "x" * 70_000}).status == 413
    assert client.post({f"a{number}": "1" for number in range(60)}).status == 403
    connection = http.client.HTTPConnection("127.0.0.1", client.server.server_port, timeout=60)
    connection.putrequest("POST", "/ask")
    connection.putheader("Content-Length", "-5")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_port_in_use_is_named(client: Client, tmp_path: Path) -> None:
    port = client.server.server_port
    with pytest.raises(
        InputError,
        match=rf"^--port: must be free on 127\.0\.0\.1, got {port}: Address already in use; "
        "0 takes any free port$",
    ):
        WatchServer(Follower(tmp_path, "demo"), host="127.0.0.1", port=port)


def test_nothing_of_a_request_is_printed(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.get()
    client.get("/", {})
    client.post({"action": "pin", "trial": json.dumps(["x"])})
    assert capfd.readouterr() == ("", "")
