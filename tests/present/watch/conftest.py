"""A sweep that a driver works on, and the server of its page."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest

from droplora_sweep.ledger.following import Follower
from droplora_sweep.present.watch.server import WatchServer
from tests.ledgers import Driver, make_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ADAPTER = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}


@dataclass
class Response:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    text: str


class Client:
    """Asks a server, as a browser that has the page's address would."""

    def __init__(self, server: WatchServer) -> None:
        self.server = server
        self.token = server.reader.token
        self.host = urlsplit(server.address).netloc

    def get(
        self, path: str = "/", query: Mapping[str, str] | None = None, **headers: str
    ) -> Response:
        given = {"token": self.token} if query is None else query
        return self._ask("GET", f"{path}?{urlencode(given)}", None, headers)

    def post(self, form: Mapping[str, str], path: str = "/ask", **headers: str) -> Response:
        body = urlencode({"token": self.token, **form})
        own = {"Origin": f"http://{self.host}", "Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, body, {**own, **headers})

    def _ask(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        connection.request(method, path, body, {"Host": self.host, **named})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return Response(answer.status, dict(answer.getheaders()), text)


@contextmanager
def served(storage: Path, name: str = "demo", **options: object) -> Iterator[Client]:
    """A client of the page of a sweep."""
    given = {"host": "127.0.0.1", "port": 0, **options}
    with WatchServer(Follower(storage, name), **given) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Client(server)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """A driver of a sweep, ``demo``, without a trial yet."""
    made = Driver(tmp_path, make_sweep("demo"), ADAPTER)
    yield made
    made.ledger.close()
