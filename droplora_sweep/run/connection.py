"""The Ray cluster that a sweep runs on, or a Ray of its own on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep import private_api
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
    ``~/.ray/auth_token``, would be shared by every Ray of the user and readable by all users.

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

            # A Ray that this process started before had another token.
            private_api.forget_ray_token()
            with private_api.ray_on_loopback():
                try:
                    with _imports_meanwhile():
                        _start(node, private / "r")
                    yield
                finally:
                    ray.shutdown()
    finally:
        shutil.rmtree(private, ignore_errors=True)


LIBRARIES = ("torch", "optuna", "scipy.stats", "pandas", "pyarrow.parquet")
"""Libraries that a driver imports sooner or later, and that share no modules with Ray's start."""


@contextlib.contextmanager
def _imports_meanwhile() -> Iterator[None]:
    """Import libraries beside a start that mostly waits for other processes."""

    def import_all() -> None:
        for name in LIBRARIES:
            # What cannot be imported is told where it is needed.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    thread = threading.Thread(target=import_all, name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _start(node: Mapping[str, float], folder: Path) -> None:
    try:
        private_api.start_ray(
            folder,
            address="local",
            num_cpus=int(node["CPU"]),
            num_gpus=int(node["GPU"]),
            include_dashboard=False,
            logging_level=logging.WARNING,
        )
    # Blind on purpose: where its processes take too long or end, Ray raises a bare Exception.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SweepError(f"Ray does not start on this machine: {reason}") from error


@contextlib.contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """Make a token's file, which is locked for as long as its driver lives."""
    path = folder / TOKEN_FILE
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, secrets.token_hex(32).encode())
        yield path
    finally:
        os.close(descriptor)


def _remove_left_behind() -> None:
    """Remove folders of this user's drivers that were killed: no process locks their tokens."""
    for path in ROOT.glob(f"{PREFIX}*/{TOKEN_FILE}"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A token that is empty is only just being made.
            if os.fstat(file.fileno()).st_uid == os.geteuid() and file.read():
                shutil.rmtree(path.parent, ignore_errors=True)


def _settings(token: Path) -> dict[str, str | None]:
    """Return the environment of Ray's processes.

    Ray turns its authentication on by itself where nothing says off; its mode is restored after.
    """
    return {
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Ray is then reached at 127.0.0.1, on Linux too. Processes read it as they import ray;
        # this one may have imported it before.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        _AUTH_MODE: os.environ.get(_AUTH_MODE),
        # Nobody takes this machine away with notice; each group's watcher would import for seconds.
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    }


@contextlib.contextmanager
def _environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, or unset those that are None, and restore all of them after."""
    before = {name: os.environ.get(name) for name in settings}
    _set_all(settings)
    try:
        yield
    finally:
        _set_all(before)


def _set_all(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


LOCAL = "local"
AUTO = "auto"
ADDRESS = "RAY_ADDRESS"
"""Variable that names a cluster; `ray job submit` sets it."""
NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")
ANSWER_TIMEOUT_S = 10.0
"""A cluster's head takes a connection within this time. What listens there but does not answer as
Ray does is given up by Ray's own client after about 40 s."""


@dataclass(frozen=True)
class RayAddress:
    """A cluster that was asked for.

    Attributes:
        address: ``local``, or what ``ray.init`` takes.
        source: The option, or the name of the variable, that it was read from.
    """

    address: str
    source: str = "--address"

    def __str__(self) -> str:
        """``10.0.0.1:6379, from RAY_ADDRESS``; the bare address where it was given."""
        return self.address if self.source != ADDRESS else f"{self.address}, from {ADDRESS}"


def resolve_address(address: str | RayAddress) -> RayAddress:
    """Resolve ``auto`` to RAY_ADDRESS, which ``ray job submit`` sets, else to ``local``."""
    if isinstance(address, RayAddress):
        return address
    if address == AUTO:
        named = os.environ.get(ADDRESS)
        return RayAddress(named, ADDRESS) if named else RayAddress(LOCAL)
    return RayAddress(address)


def local_node() -> dict[str, float]:
    """Return this machine's resources, as a Ray that is started here has them."""
    num_gpus = len(list(NVIDIA_DEVICES.iterdir())) if NVIDIA_DEVICES.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        num_gpus = min(num_gpus, len([device for device in visible.split(",") if device.strip()]))
    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(num_gpus)}


@contextlib.contextmanager
def connect(address: str | RayAddress) -> Iterator[None]:
    """Join a cluster, or start one on this machine that ends with the sweep.

    Meanwhile RAY_ADDRESS names the joined cluster: with another Ray on the host, processes of Ray
    Train could not tell which one is theirs. For a Ray that is started here it is unset: they look
    for a dashboard, which that Ray lacks, and must not ask another Ray for it.

    Args:
        address: ``auto``, ``local``, or what ``ray.init`` takes.

    Raises:
        SweepError: There is no cluster at the address, or none that answers in time.
    """
    cluster = resolve_address(address)
    if cluster.address == LOCAL:
        with _environment({ADDRESS: None}), local_ray(local_node()):
            yield
        return
    cluster = _found(cluster)
    require_answer(cluster)
    import ray

    try:
        ray.init(address=cluster.address, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_answer(cluster, str(error)) from error
    try:
        with _environment({ADDRESS: cluster.address}):
            yield
    finally:
        ray.shutdown()


def nodes_at(address: str) -> tuple[list[Mapping[str, float]], bool]:
    """Return the resources of the nodes at an address, without starting a cluster.

    Returns:
        Those of each node, and True where other nodes may join.

    Raises:
        SweepError: There is no cluster at the address.
    """
    cluster = resolve_address(address)
    if cluster.address == LOCAL:
        return [local_node()], False
    with connect(cluster):
        from droplora_sweep.groups.cluster import cluster_nodes, may_have_only_these

        return cluster_nodes(), not may_have_only_these()


def require_answer(cluster: RayAddress) -> None:
    """See that a cluster's head answers; `ray.init` alone would try again and again, for minutes.

    Raises:
        SweepError: It does not.
    """
    host, colon, port = cluster.address.rpartition(":")
    if "://" in cluster.address or not colon or not port.isdigit():
        # Ray Client has a limit of its own, and what is no address is refused at once.
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        what = f"no connection within {ANSWER_TIMEOUT_S:.0f} s"
        reason = what if isinstance(error, TimeoutError) else str(error)
        raise _no_answer(cluster, reason) from error
    import ray

    try:
        private_api.ask_ray(cluster.address)
    except ray.exceptions.RayError as error:
        reason = f"what listens there does not answer as Ray does: {error}"
        raise _no_answer(cluster, reason) from error


def _found(cluster: RayAddress) -> RayAddress:
    """Resolve ``auto`` in RAY_ADDRESS to the Ray that was last started on this machine."""
    if cluster.address != AUTO:
        return cluster
    try:
        return RayAddress(private_api.ray_bootstrap_address(AUTO), cluster.source)
    except ConnectionError as error:
        raise _no_answer(cluster, str(error)) from error


def _no_answer(cluster: RayAddress, reason: str) -> SweepError:
    said = (reason.strip() or "it gives no reason").splitlines()[0]
    remedy = "give --address another one" if cluster.source != ADDRESS else f"unset {ADDRESS}"
    return SweepError(
        f"{cluster.source}: no Ray cluster answers at {cluster.address}: {said}; {remedy}, or "
        "--address local to run on this machine"
    )
