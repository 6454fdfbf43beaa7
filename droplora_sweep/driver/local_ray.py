"""A Ray of the sweep's own on this machine, which nobody else can reach or use."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKEN_FILE = "auth_token"
_AUTH_MODE = "RAY_AUTH_MODE"


@contextlib.contextmanager
def local_ray(node: Mapping[str, float]) -> Iterator[None]:
    """Start Ray, and end it with everything it wrote.

    Its processes listen on the loopback interface alone and take orders only with a token, which
    is made for this one Ray and is readable by its owner alone. Ray's own token, in
    ``~/.ray/auth_token``, would be shared by every Ray of the user and readable by everybody.

    Args:
        node: Resources of this machine.
    """
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    private = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    try:
        with _environment(_settings(private)):
            import ray
            from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

            # A Ray that this process started before had another token.
            AuthenticationTokenLoader.instance().reset_cache()
            try:
                ray.init(
                    address="local",
                    num_cpus=int(node["CPU"]),
                    num_gpus=int(node["GPU"]),
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                    # Ray opens its own folder to everybody (mode 0777).
                    _temp_dir=str(private / "r"),
                )
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _settings(folder: Path) -> dict[str, str]:
    """Environment of Ray's processes; Ray turns its authentication on where nothing says off."""
    token = folder / TOKEN_FILE
    descriptor = os.open(token, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(descriptor, secrets.token_hex(32).encode())
    os.close(descriptor)
    return {
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Ray is then reached at 127.0.0.1, on Linux too. It is read when ray is imported.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables, and give all of them and Ray's mode of authentication back after."""
    before = {name: os.environ.get(name) for name in (*settings, _AUTH_MODE)}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
