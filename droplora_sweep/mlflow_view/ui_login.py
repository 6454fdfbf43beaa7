"""Who may use the MLflow UI that is opened here: the owner of the storage folder.

The loopback interface is shared by every user of a machine, so MLflow's own basic authentication is
on. Its one user and a generated password are kept beside the sweeps, readable by their owner alone.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.ledger.sqlite_url import sqlite_url

if TYPE_CHECKING:
    from pathlib import Path

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
    """What a user types into the browser, and what the server is told of it.

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
