"""Ray clusters of several raylets on this machine, started as a user starts them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
START_TIMEOUT_S = 120.0
ASK = """
import json, time, ray
ray.init(address={address!r}, log_to_driver=False, logging_level="ERROR")
{preparation}
print(json.dumps({expression}))
"""
BLIND = ("unshare", "--mount", "sh", "-ec", 'mount -t tmpfs -o mode=0700 tmpfs "$0"; exec "$@"')
"""Runs a command whose processes see an empty folder in place of another; it needs root."""
WAIT_FOR_ALL = """
while sum(node["Alive"] for node in ray.nodes()) < {count}:
    time.sleep(0.2)
"""


@contextlib.contextmanager
def own_ray(num_gpus: int = 0) -> Iterator[None]:
    """A Ray of this process's own, with two CPUs; it believes what it is told of GPUs."""
    import ray

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    saved = os.environ.pop("RAY_ADDRESS", None)
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=num_gpus,
        include_dashboard=False,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _temp_dir=folder,
    )
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        if saved is not None:
            os.environ["RAY_ADDRESS"] = saved


@dataclass
class Cluster:
    """The cluster's address, and its raylets.

    Attributes:
        jobs: For ``ray job submit``.
        client: For Ray Client.
        address: For drivers on this machine.
        environment: With this interpreter first on the path, as on a node that has the package,
            and Ray's token authentication on.
        raylets: One ``ray start`` each, the head's first.
    """

    jobs: str
    client: str
    address: str
    environment: dict[str, str]
    raylets: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(self, expression: str, preparation: str = "") -> Any:
        """Value of an expression in a process that has joined the cluster, through JSON."""
        script = ASK.format(address=self.address, expression=expression, preparation=preparation)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=self.environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        )
        return json.loads(done.stdout.splitlines()[-1])

    def node_id(self, raylet: int) -> str:
        """Ray's id of a node, by its place in ``raylets``."""
        label = f"raylet-{raylet}"
        [node] = [node for node in self.ask("ray.nodes()") if label in node["Resources"]]
        return str(node["NodeID"])

    def raylet_of(self, process: psutil.Process) -> int:
        """The raylet that started a process, by its place in ``raylets``."""
        pids = {parent.pid for parent in process.parents()}
        [found] = [index for index, raylet in enumerate(self.raylets) if raylet.pid in pids]
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of Ray's commands."""
        return subprocess.run(
            [BIN / "ray", *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_TIMEOUT_S,
        )


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what was started here at once; a polite end takes a raylet half a minute."""
    everything: list[psutil.Process] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid)
            everything += [started, *started.children(recursive=True)]
    for one in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    for process in processes:
        process.wait(60)


@contextlib.contextmanager
def running_cluster(
    cpus: Sequence[int],
    environment: Mapping[str, str] | None = None,
    folders: Sequence[Path] | None = None,
    resources: Sequence[Mapping[str, float]] | None = None,
    unseen: Path | None = None,
) -> Iterator[Cluster]:
    """A raylet for each number of CPUs, the head's first; it has the resource ``raylet-<place>``.

    Args:
        cpus: CPUs of each node.
        environment: Further variables of all its processes.
        folders: Ray's temporary folder of each node; made and removed where not given.
        resources: Further resources of each node.
        unseen: A folder that the head alone sees: the other nodes have another one in its place.
    """
    made = [] if folders else [Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp")) for _ in cpus]
    gcs, jobs, client, *agents = free_ports(3 + len(cpus))
    variables = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        # A token of its own: this user may have none, and another Ray's is another one.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        **(environment or {}),
    }
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
        variables.pop(name, None)
    cluster = Cluster(
        f"http://127.0.0.1:{jobs}", f"ray://127.0.0.1:{client}", f"127.0.0.1:{gcs}", variables
    )
    head = [
        *("--head", f"--port={gcs}", f"--ray-client-server-port={client}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={jobs}"),
    ]
    try:
        # Raylets that shared a folder would unpack a job's files over each other.
        nodes = zip(cpus, folders or made, agents, strict=True)
        for place, (num_cpus, folder, agent) in enumerate(nodes):
            arguments, port = (
                (head, jobs) if place == 0 else ([f"--address={cluster.address}"], gcs)
            )
            node = [f"--temp-dir={folder}", f"--num-cpus={num_cpus}", "--num-gpus=0", "--block"]
            further = resources[place] if resources else {}
            node.append(f"--resources={json.dumps({f'raylet-{place}': 1, **further})}")
            # The default is one port, and any other Ray of this machine may have it.
            node.append(f"--dashboard-agent-listen-port={agent}")
            command = [BIN / "ray", "start", *arguments, *node]
            if place and unseen is not None:
                command = [*BLIND, unseen, *command]
            raylet = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
            cluster.raylets.append(raylet)
            _wait_for(port, raylet)
        cluster.ask("0", WAIT_FOR_ALL.format(count=len(cpus)))
        yield cluster
    finally:
        kill(cluster.raylets)
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def late_raylet(
    cluster: Cluster,
    num_cpus: int,
    python: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A raylet that joins a running cluster; it ends with the block.

    Args:
        cluster: The cluster.
        num_cpus: CPUs of the node.
        python: Interpreter of the node's processes, which has Ray; this one where None.
        environment: Their variables; the cluster's where None.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    [agent] = free_ports(1)
    node = [f"--temp-dir={folder}", f"--num-cpus={num_cpus}", "--num-gpus=0", "--block"]
    node += [f"--address={cluster.address}", f"--dashboard-agent-listen-port={agent}"]
    command = [python or sys.executable, "-m", "ray.scripts.scripts", "start", *node]
    raylet = subprocess.Popen(
        command, env=environment or cluster.environment, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        kill([raylet])
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"ray start ended with {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nothing listens on port {port} after {START_TIMEOUT_S:g} s")
