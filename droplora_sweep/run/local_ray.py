"""A Ray of the sweep's own on this machine, which nobody else can reach or use."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path("/tmp")
PREFIX = "ray-"
"""Short: Ray's sockets lie below, and a socket's path has at most 107 characters."""
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

    Raises:
        SweepError: It does not start.
    """
    _remove_left_behind()
    private = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ROOT))
    try:
        with _token(private) as token, _environment(_settings(token)):
            import ray
            from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

            # A Ray that this process started before had another token.
            AuthenticationTokenLoader.instance().reset_cache()
            try:
                _start(node, private / "r")
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _start(node: Mapping[str, float], folder: Path) -> None:
    import ray

    try:
        ray.init(
            address="local",
            num_cpus=int(node["CPU"]),
            num_gpus=int(node["GPU"]),
            include_dashboard=False,
            logging_level=logging.WARNING,
            # Ray opens its own folder to everybody (mode 0777).
            _temp_dir=str(folder),
        )
    # Blind on purpose: where its processes take too long or end, Ray raises a bare Exception.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SweepError(f"Ray does not start on this machine: {reason}") from error


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """A new token's file, which is locked for as long as its driver lives."""
    path = folder / TOKEN_FILE
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, secrets.token_hex(32).encode())
        yield path
    finally:
        os.close(descriptor)


def _remove_left_behind() -> None:
    """Remove the folders of drivers of this user that were killed: nobody locks their tokens."""
    for path in ROOT.glob(f"{PREFIX}*/{TOKEN_FILE}"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A token that is empty is only just being made.
            if os.fstat(file.fileno()).st_uid == os.geteuid() and file.read():
                shutil.rmtree(path.parent, ignore_errors=True)


def _settings(token: Path) -> dict[str, str]:
    """Environment of Ray's processes; Ray turns its authentication on where nothing says off."""
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
