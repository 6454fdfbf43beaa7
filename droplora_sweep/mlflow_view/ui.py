"""The MLflow UI on a sweep's store: its command, its login, its processes.

The loopback interface is shared by every user of a machine, so MLflow's own basic authentication is
on. Its one user and a generated password are kept beside the sweeps, readable by their owner alone.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.spec import RESERVED_NAMES
from droplora_sweep.spec.locations import sqlite_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


FOLDER = ".mlflow-login"
USER = "droplora"

_CONFIG = """\
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {users}
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 3600
"""
# Without the cache every request, of which a page makes dozens, hashes the password anew.


@dataclass(frozen=True)
class Login:
    """Name and password of the UI's user, and the server's settings for them.

    Attributes:
        user: Name of the only user.
        password: Generated once for a storage folder.
        environment: The server's further environment variables.
    """

    user: str
    password: str = field(repr=False)
    environment: dict[str, str] = field(repr=False)


def ui_login(storage: Path) -> Login:
    """The login of a storage folder's UI, made where missing.

    Raises:
        SweepError: The folder cannot be written.
    """
    folder = storage.resolve() / FOLDER
    file, config, users = folder / "password", folder / "auth.ini", folder / "users.db"
    with disk_faults_named(folder):
        make_private_directory(folder)
        if not file.is_file():
            replace_file(file, secrets.token_urlsafe(18).encode())
        password = file.read_text()
        # In such a file a percent sign begins a reference unless it is doubled.
        url = sqlite_url(users).replace("%", "%%")
        text = _CONFIG.format(users=url, user=USER, password=password)
        replace_file(config, text.encode())
        os.close(os.open(users, os.O_CREAT, 0o600))
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        # It signs the forms of MLflow's pages.
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
    return Login(USER, password, environment)


MLFLOW_ARTIFACTS, MLFLOW_DATABASE = RESERVED_NAMES

QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
"""MLflow otherwise reports its use to its makers."""

UI_ENVIRONMENT = {
    **QUIET_ENVIRONMENT,
    # Without job execution and with one worker the server starts in half the time and in a
    # sixth of the memory.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def mlflow_uri(storage: Path) -> str:
    """Tracking URI of the sqlite store that the sweeps of a storage folder share."""
    return sqlite_url(storage.resolve() / MLFLOW_DATABASE)


def artifact_root(storage: Path) -> Path:
    """Folder of that store's artifacts."""
    return storage.resolve() / MLFLOW_ARTIFACTS


UI_PORT = 5000
UI_ADDRESS = f"http://127.0.0.1:{UI_PORT}"
"""Address of the UI of a storage folder unless it is told otherwise."""


def is_server(uri: str | None) -> bool:
    """Return True for the address of a server, which has its UI there."""
    return uri is not None and uri.startswith(("http://", "https://"))


def ui_command(
    store: Path | str, port: int = UI_PORT, login: Login | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the MLflow UI on this machine's loopback interface.

    Args:
        store: A storage folder, or the database URI of an MLflow store.
        port: Port to listen on.
        login: The user who may use it; None lets every user of this machine.

    Returns:
        The command, and what its environment must have in addition.

    Raises:
        SweepError: If the store is a server, which has its UI at its own address.
    """
    if isinstance(store, str) and is_server(store):
        raise SweepError(f"tracking.mlflow_uri: {store} is a server; open it in a browser")
    uri = mlflow_uri(store) if isinstance(store, Path) else store
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if isinstance(store, Path):
        # The artifacts' own locations are absolute; this keeps new ones out of the user's folder.
        command += ["--default-artifact-root", artifact_root(store).as_uri()]
        command += ["--artifacts-destination", artifact_root(store).as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if login is None:
        return command, dict(UI_ENVIRONMENT)
    return [*command, "--app-name", "basic-auth"], {**UI_ENVIRONMENT, **login.environment}


CLIENT_ENVIRONMENT = {
    **QUIET_ENVIRONMENT,
    # A call to a dead server blocks for about 247 s with MLflow's own values; the ledger keeps
    # what is not published, so giving up early loses nothing.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def set_environment() -> None:
    """Set this process's MLflow settings, where the user has not set them.

    MLflow reads some when it is imported, so it is imported after this.
    """
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 10.0
POLL_S = 0.1


def serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server until it ends, or until this process is told to end.

    The server and what it starts are a process group of their own, and are all told to end.

    Args:
        command: The server's command.
        environment: Variables of its environment in addition to this process's.

    Returns:
        0 where this process was told to end, else the server's exit code.
    """
    with _signals_noted() as noted:
        server = subprocess.Popen(
            command, env={**os.environ, **environment}, start_new_session=True
        )
        try:
            while server.poll() is None and not noted:
                time.sleep(POLL_S)
        finally:
            _end(server)
    return 0 if noted else server.returncode


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note signals that end a process instead of ending at once; ignored ones stay ignored."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number))
        for number in SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server's group: with grace, then without."""
    deadline = time.monotonic() + GRACE_S
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            # A group that has no process any more is no group, which ends this loop.
            server.poll()
            os.killpg(server.pid, 0)
            time.sleep(POLL_S)
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
