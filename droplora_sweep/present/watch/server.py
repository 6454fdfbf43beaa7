"""Serves the page to its owner: a small server of the standard library.

* It listens on this machine alone unless it is told otherwise, and then only shows: a sweep is
  steered from another machine where that was asked for.
* Every user of a machine shares its loopback interface, and so does every page that is open in a
  browser. So each address of the page has a random token, which only the command's terminal shows.
  It is no cookie: browsers send those for every port of a machine, whoever asks.
* A request must name this server as its host, so that no foreign name can be led here (DNS
  rebinding), and one that changes something must come from the page itself (``Origin``).
* Nothing of a request is written to the terminal.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
import http
import http.server
import ipaddress
import secrets
import socket
import sys
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.ledger.reader import named_trial
from droplora_sweep.present.markup import STYLE, read_template

from .asking import Action, Desk
from .page import Reader, render, render_refusal, render_trial
from .watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.ledger.following import Follower

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The page's own forms need it to say where they come from; nobody else learns the address.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML = "text/html; charset=utf-8"
MOST_BYTES = 65_536
"""A form is smaller."""
COMPRESSED_FROM = 1400
IDLE_S = 60
WRONG_TOKEN = (
    "This page belongs to whoever ran `droplora-sweep watch`: open the address that it printed, "
    "with its token."
)
WRONG_HOST = "This server goes by another name: open the address that the command printed."
FOREIGN = "A change must be asked for on the page itself."


def is_loopback(host: str) -> bool:
    """Return True where only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_server(header: str | None, bound: str) -> bool:
    """Return True where a ``Host`` header names this server and no name that anyone can lead here.

    The port is not looked at: a tunnel has its own.

    Args:
        header: The request's.
        bound: The address that the server listens on, as it was given.

    >>> names_server("localhost:5100", "127.0.0.1"), names_server("evil.example", "127.0.0.1")
    (True, False)
    """
    try:
        name = (urlsplit(f"//{header or ''}").hostname or "").lower()
    except ValueError:
        return False
    if name in ("localhost", bound.lower()):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return not is_loopback(bound) and name in (socket.gethostname().lower(), _own_name())
    return address.is_loopback or not is_loopback(bound)


@cache
def _own_name() -> str:
    return socket.getfqdn().lower()


@cache
def _style() -> bytes:
    parts = (read_template(__package__, STYLE), read_template(__package__, "watch.css"))
    return "\n".join(part or "" for part in parts).encode()


@cache
def _script() -> bytes:
    return (read_template(__package__, "script.js") or "").encode()


class WatchServer(http.server.ThreadingHTTPServer):
    """The server of one sweep's page; it listens once it is made.

    Attributes:
        address: The page's address, with its token.
    """

    daemon_threads = True

    def __init__(
        self, follower: Follower, *, host: str, port: int, can_control: bool | None = None
    ) -> None:
        """Listen.

        Args:
            follower: The sweep's.
            host: Address or name of this machine to listen on.
            port: Port to listen on; 0 takes any that is free.
            can_control: True to pass requests on to the driver; None does so where only this
                machine reaches the server.

        Raises:
            InputError: The address is not this machine's, or the port is in use.
            SweepError: The sweep cannot be read.
        """
        self.host = host
        self.watcher = Watcher(follower)
        self.desk = Desk(follower.storage, follower.name)
        controls = is_loopback(host) if can_control is None else can_control
        self.reader = Reader(token=secrets.token_urlsafe(18), can_control=controls)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            problem = f"must be free on {host}, got {port}: {error.strerror}; 0 takes any free port"
            raise InputError.of("--port", problem) from error

    @property
    def address(self) -> str:
        """The page's address, with its token."""
        try:
            is_any = ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            is_any = False
        name = socket.gethostname() if is_any else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.server_port}{self.reader.link('/')}"

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, which may take seconds."""
        super(http.server.HTTPServer, self).server_bind()
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a reader go that is gone; other faults are bugs, and show their traceback."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one reader."""

    server: WatchServer
    server_version = "droplora-sweep"
    sys_version = ""
    timeout = IDLE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses hold the token."""

    def do_GET(self) -> None:
        """Show the page, one of its trials, or its style and script."""
        path, query = self._asked_for()
        files = {"/style.css": (_style, "text/css"), "/script.js": (_script, "text/javascript")}
        if path in files:
            content, kind = files[path]
            self._send(200, content(), f"{kind}; charset=utf-8")
        elif self._is_refused(query.get("token", "")):
            return
        elif path == "/":
            self._send(200, self._page().encode())
        elif path == "/trial":
            self._show_trial(query)
        else:
            self._refuse(404, "There is no such page.")

    def do_POST(self) -> None:
        """Pass a request on to the driver."""
        form = self._form()
        if form is None or self._is_refused(form.get("token", "")):
            return
        if self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            self._refuse(403, FOREIGN)
            return
        path, _ = self._asked_for()
        if path != "/ask":
            self._refuse(404, "There is no such page.")
            return
        if not self.server.reader.can_control:
            self._refuse(403, "This page only shows: start it with `--controls` to steer from it.")
            return
        asked = self.server.desk.ask(form)
        if not asked.is_done and form.get("action") == Action.CLONE:
            # What was filled in is there to be mended.
            self._show_trial({"id": form.get("trial", "")}, form)
            return
        # Who has asked for a change sees what came of it.
        self.server.watcher.now(at_once=True)
        self._go(self.server.reader.link("/"))

    def _asked_for(self) -> tuple[str, dict[str, str]]:
        path, _, query = self.path.partition("?")
        return path, _first(query)

    def _form(self) -> dict[str, str] | None:
        """The form that was sent; None where it was refused, or is none."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self.close_connection = True
            self._refuse(413, f"A form must have at most {MOST_BYTES} bytes.")
            return None
        return _first(self.rfile.read(int(length)).decode(errors="replace"))

    def _is_refused(self, token: str) -> bool:
        """Refuse whoever does not know the token, and every host by another name."""
        own = self.server.reader.token
        if not names_server(self.headers.get("Host"), self.server.host):
            self._refuse(421, WRONG_HOST)
        elif not hmac.compare_digest(token.encode(), own.encode()):
            self._refuse(403, WRONG_TOKEN)
        else:
            return False
        return True

    def _page(self) -> str:
        desk, watcher = self.server.desk, self.server.watcher
        return render(watcher.now(), self.server.reader, desk.asked, watcher.poll_s)

    def _show_trial(self, query: Mapping[str, str], form: Mapping[str, str] | None = None) -> None:
        moment = self.server.watcher.now()
        try:
            trial = named_trial(moment.look.ledger, query.get("id", ""))
        except SweepError as error:
            self._refuse(404, str(error))
            return
        asked = self.server.desk.asked[0] if form is not None else None
        html = render_trial(moment, self.server.reader, trial, asked, form)
        self._send(200 if form is None else 422, html.encode())

    def _refuse(self, status: int, text: str) -> None:
        self._send(status, render_refusal(text).encode())

    def _go(self, place: str) -> None:
        self.send_response(http.HTTPStatus.SEE_OTHER)
        self._head({"Location": place, "Content-Length": "0"})

    def _send(self, status: int, content: bytes, kind: str = HTML) -> None:
        """Send a body, or word that the reader has it already."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        if status == http.HTTPStatus.OK and self.headers.get("If-None-Match") == tag:
            self.send_response(http.HTTPStatus.NOT_MODIFIED)
            self._head({"ETag": tag})
            return
        headers = {"Content-Type": kind, "ETag": tag, "Vary": "Accept-Encoding"}
        takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        if takes_gzip and len(content) >= COMPRESSED_FROM:
            content = gzip.compress(content, compresslevel=5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        self.send_response(status)
        self._head({**headers, "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _head(self, headers: Mapping[str, str]) -> None:
        for name, value in {**HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _first(query: str) -> dict[str, str]:
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}
