"""Hosts of their own on this machine: Linux namespaces that share nothing but a network.

Each has its own processes, address, host name, home, ``/tmp``, ``/run`` and ``/dev/shm``, so that
programs which take a whole host for themselves (``ray stop`` among them) meet no other. Making
them takes root.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BIN = Path(sys.executable).parent
SITE = next(Path(path) for path in sys.path if path.endswith("site-packages"))
NETWORK = "10.99.0"
HOME = "/home/sweep"
"""Root's home on a host; the machine's own has the Python that runs the tests."""
START_TIMEOUT_S = 30.0
ENTER = """
hostname {name}
ip link set lo up
mount -t tmpfs tmpfs /home
mkdir {home}
mount --bind {place} {home}
mount --bind {folder}/hosts /etc/hosts
mount --bind {folder}/passwd /etc/passwd
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
# The tests' own environment is read by all hosts and written by none.
mount --bind {environment} {environment}
mount -o remount,bind,ro {environment}
mkdir /run/sshd
mount --bind {folder}/tmp /tmp
touch /tmp/ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Host:
    """A host, by its address.

    Attributes:
        name: Host name; the others resolve it.
        address: IPv4 address.
        folder: Folder on this machine that has its files.
        home: Folder on this machine that is its home.
        pid: First process, as this machine numbers it.
    """

    name: str
    address: str
    folder: Path
    home: Path
    pid: int

    def command(self, *words: str, cwd: str = HOME) -> list[str]:
        """A command as it is run in the host from outside."""
        inside = f"cd {shlex.quote(cwd)} && exec {shlex.join(words)}"
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts", "--pid"]
        return [*enter, "sh", "-c", inside]

    def run(
        self, *words: str, cwd: str = HOME, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host and wait for it."""
        return subprocess.run(
            self.command(*words, cwd=cwd),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )


def environment() -> Mapping[str, str]:
    """The variables that a login on a new host has."""
    path = f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"HOME": HOME, "USER": "root", "PATH": path, "LANG": "C.UTF-8", "COLUMNS": "200"}


@contextlib.contextmanager
def running_hosts(
    folder: Path, names: Sequence[str], *, share_home: bool = False
) -> Iterator[list[Host]]:
    """Hosts on one network; all their processes end with the block.

    Args:
        folder: Place of their files.
        names: Their names.
        share_home: One home for all of them, as on a file server.
    """
    addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, 10)}
    lines = ["127.0.0.1 localhost", *(f"{where} {name}" for name, where in addresses.items())]
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(_process(["unshare", "--net", "sleep", "infinity"]))
        _in_network(network.pid, "ip link set lo up")
        _in_network(network.pid, "ip link add switch type bridge")
        _in_network(network.pid, "ip link set switch up")
        hosts = []
        for number, (name, address) in enumerate(addresses.items()):
            place = folder / name
            home = folder / "home" if share_home else place / "home"
            for inner in (home, place / "tmp"):
                inner.mkdir(parents=True, exist_ok=True)
            (place / "tmp").chmod(0o1777)
            (place / "hosts").write_text("\n".join(lines) + "\n")
            (place / "passwd").write_text(_users())
            script = ENTER.format(
                name=name,
                home=HOME,
                place=home,
                folder=place,
                environment=BIN.parent.resolve(),
            )
            isolated = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
            command = ["unshare", *isolated, "--mount-proc", "sh", "-ec", script]
            outer = stack.enter_context(_process(command))
            pid = _first_process(outer, place / "tmp" / "ready")
            _in_network(
                network.pid, f"ip link add port{number} type veth peer name eth0 netns {pid}"
            )
            _in_network(network.pid, f"ip link set port{number} master switch up")
            _in_network(pid, f"ip addr add {address}/24 dev eth0")
            _in_network(pid, "ip link set eth0 up")
            hosts.append(Host(name, address, place, home, pid))
        yield hosts


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    # It ends with the tests even where they are killed.
    bound = ["setpriv", "--pdeathsig", "KILL", *command]
    process = subprocess.Popen(bound, env=environment(), cwd="/")
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def _users() -> str:
    lines = Path("/etc/passwd").read_text().splitlines()
    others = [line for line in lines if not line.startswith("root:")]
    return "\n".join([f"root:x:0:0:root:{HOME}:/bin/bash", *others, ""])


def _first_process(outer: subprocess.Popen[bytes], ready: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert outer.poll() is None, f"a host ended with {outer.returncode}"
        if ready.exists():
            [child] = psutil.Process(outer.pid).children()
            return int(child.pid)
        time.sleep(0.05)
    raise AssertionError(f"a host is not ready after {START_TIMEOUT_S:g} s")


def _in_network(pid: int, command: str) -> None:
    # The new namespace of a process that was just started may not be there yet.
    deadline = time.monotonic() + START_TIMEOUT_S
    own = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == own:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", *command.split()], check=True, env=os.environ
    )


RAY = """#!{python}
\"\"\"Ray's command, which ends only what it started on this host, by process ids.\"\"\"
import os, subprocess, sys
from pathlib import Path
import psutil

STARTED = Path("/tmp/.started-by-ray")
COMMAND = [sys.executable, "-m", "ray.scripts.scripts", *sys.argv[1:]]
if sys.argv[1:2] == ["stop"]:
    for pid in STARTED.read_text().split() if STARTED.exists() else ():
        try:
            started = psutil.Process(int(pid))
            for one in [started, *started.children(recursive=True)]:
                one.kill()
        except psutil.NoSuchProcess:
            pass
    STARTED.unlink(missing_ok=True)
elif sys.argv[1:2] == ["start"] and "--block" not in sys.argv:
    before = set(psutil.pids())
    done = subprocess.run(COMMAND, check=False)
    with STARTED.open("a") as file:
        print(*sorted(set(psutil.pids()) - before), file=file)
    sys.exit(done.returncode)
else:
    os.execv(COMMAND[0], COMMAND)
"""


def give_environment(host: Host) -> None:
    """Make the environment that ``setup_node.sh`` finds: that of the tests, without a network."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", host.home / ".venv-droplora"], check=True
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = host.home / ".venv-droplora" / "lib" / version / "site-packages"
    (site / "tests.pth").write_text(f"{SITE}\n")
    ray = host.home / ".venv-droplora" / "bin" / "ray"
    ray.write_text(RAY.format(python=f"{HOME}/.venv-droplora/bin/python"))
    ray.chmod(0o755)
    pip = host.home / ".config" / "pip" / "pip.conf"
    pip.parent.mkdir(parents=True)
    # pip reads the second line as it reads `--no-build-isolation`: switched off.
    pip.write_text("[global]\nno-index = true\n[install]\nno-build-isolation = false\n")
