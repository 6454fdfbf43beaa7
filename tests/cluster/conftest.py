"""A Ray cluster of two raylets on this machine, started as a user starts one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 120.0
WAIT_FOR_BOTH = """
import time, ray
ray.init(address={address!r}, log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.2)
"""


@dataclass(frozen=True)
class Cluster:
    """Where the cluster listens.

    Attributes:
        jobs: For ``ray job submit``.
        client: For Ray Client.
        environment: With this interpreter first on the path, as on a node that has the package,
            and Ray's token authentication on.
    """

    jobs: str
    client: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ray start ended with {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on port {port} after {START_TIMEOUT_S:g} s")


def kill(processes: list[subprocess.Popen[bytes]]) -> None:
    """End what was started here at once; a polite end takes a raylet half a minute."""
    started = [psutil.Process(process.pid) for process in processes]
    everything = [*started, *(child for one in started for child in one.children(recursive=True))]
    for one in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    for process in processes:
        process.wait(60)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two raylets with one CPU each: a group of two workers spans both."""
    folders = [tempfile.mkdtemp(prefix="ray-", dir="/tmp") for _ in range(2)]
    gcs, jobs, client = free_ports(3)
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        # `ray start` turns token authentication on where this user has a token; clients say so.
        "RAY_AUTH_MODE": "token",
    }
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        environment.pop(name, None)
    head = [
        *("--head", f"--port={gcs}", f"--ray-client-server-port={client}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={jobs}"),
    ]
    starts = ((head, jobs), ([f"--address=127.0.0.1:{gcs}"], gcs))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        # Raylets that shared a folder would unpack a job's files over each other.
        for (arguments, port), folder in zip(starts, folders, strict=True):
            node = [f"--temp-dir={folder}", "--num-cpus=1", "--num-gpus=0", "--block"]
            command = [BIN / "ray", "start", *arguments, *node]
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
            wait_for(port, processes[-1])
        script = WAIT_FOR_BOTH.format(address=f"127.0.0.1:{gcs}")
        subprocess.run(
            [sys.executable, "-c", script], env=environment, check=True, timeout=START_TIMEOUT_S
        )
        yield Cluster(f"http://127.0.0.1:{jobs}", f"ray://127.0.0.1:{client}", environment)
    finally:
        kill(processes)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
