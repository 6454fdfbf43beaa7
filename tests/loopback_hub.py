"""A Hub on loopback: a repository, its tree and its files, as the Hub's client asks for them."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """One repository at one commit; it knows what was asked and what was sent.

    Args:
        kind: Kind of the repository.
        repository: Its id.
        files: Its files.
    """

    daemon_threads = True

    def __init__(
        self, kind: Literal["datasets", "models"], repository: str, files: Mapping[str, bytes]
    ) -> None:
        self.kind = kind
        self.repository = repository
        self.files = files
        self.asked: list[str] = []
        self.sent: dict[str, int] = {}
        self.is_gated = False
        self.bytes_per_s: float | None = None
        """Pace of a file's bytes; None is as fast as it goes."""
        self.delays_s: dict[str, float] = {}
        """Time before the first byte of a file."""
        self.cut_after: int | None = None
        """Bytes of a file after which the connection ends."""
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def tree(self) -> list[dict[str, Any]]:
        folders = {str(PurePosixPath(name).parent) for name in self.files} - {"."}
        return [
            *({"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in folders),
            *(
                {"type": "file", "path": name, "oid": digest(one), "size": len(one)}
                for name, one in self.files.items()
            ),
        ]


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub = self.server
        assert isinstance(hub, Hub)
        path = unquote(urlsplit(self.path).path)
        hub.asked.append(path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        api = f"/api/{hub.kind}/{hub.repository}"
        root = f"/{hub.repository}/" if hub.kind == "models" else f"/{hub.kind}/{hub.repository}/"
        files = f"{root}resolve/{COMMIT}/"
        if hub.is_gated and path.startswith((api, root)):
            self._refuse(403, "GatedRepo")
        elif path in (api, f"{api}/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in hub.files]
            self._json(
                {"id": hub.repository, "sha": COMMIT, "siblings": siblings, "private": False}
            )
        elif path.startswith(f"{api}/tree/{COMMIT}"):
            folder = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
            inside = f"{folder}/" if folder else ""
            self._json([one for one in hub.tree() if one["path"].startswith(inside)])
        elif path == f"{api}/paths-info/{COMMIT}":
            paths = json.loads(body)["paths"]
            self._json([one for one in hub.tree() if one["path"] in paths])
        elif path.startswith(files) and path.removeprefix(files) in hub.files:
            self._file(hub, path.removeprefix(files))
        elif path.startswith((f"{api}/tree/", f"{root}resolve/")) and COMMIT not in path:
            self._refuse(404, "RevisionNotFound")
        else:
            self._refuse(404, "EntryNotFound" if path.startswith((api, root)) else "RepoNotFound")

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _json(self, value: Any) -> None:
        self._reply(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._reply(b'{"error": "not found"}', status, {"X-Error-Code": code})

    def _file(self, hub: Hub, name: str) -> None:
        content = hub.files[name]
        headers = {"ETag": f'"{digest(content)}"', "X-Repo-Commit": COMMIT}
        wanted = self.headers.get("Range")
        status = 200
        if wanted is not None:
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            last = min(int(end) if end else len(content) - 1, len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
            content, status = content[int(start) : last + 1], 206
        if self.command != "HEAD":
            time.sleep(hub.delays_s.get(name, 0.0))
            hub.sent[name] = hub.sent.get(name, 0) + len(content)
        self._reply(content, status, headers, pace=hub.bytes_per_s, cut_after=hub.cut_after)

    def _reply(
        self,
        body: bytes,
        status: int,
        headers: dict[str, str],
        *,
        pace: float | None = None,
        cut_after: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        piece = len(body) if pace is None else max(1, int(pace / 10))
        for start in range(0, len(body), max(1, piece)):
            if cut_after is not None and start >= cut_after:
                self.close_connection = True
                return
            self.wfile.write(body[start : start + piece])
            self.wfile.flush()
            if pace is not None:
                time.sleep(0.1)

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    threading.Thread(target=hub.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


def hub_environment(url: str, home: Any) -> dict[str, str]:
    """Environment of a process whose Hub is ``url``; the client reads it on import."""
    return {
        "HF_ENDPOINT": url,
        "HF_HOME": f"{home}/hf",
        "XDG_CACHE_HOME": f"{home}/xdg",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "*",
    }
