"""The batch script, as a real Slurm of two nodes reads it."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.hosts import HOME, give_environment, running_hosts
from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.hosts import Host

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm.sbatch"
CONFIG = """
ClusterName=test
SlurmctldHost=node1
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=/tmp/slurmctld
SlurmdSpoolDir=/tmp/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/tmp/slurmctld.log
SlurmdLogFile=/tmp/slurmd.log
ReturnToService=2
SlurmdTimeout=300
NodeName=node[1-2] CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
MUNGE = """
mkdir -p /run/munge /tmp/slurmctld /tmp/slurmd
chmod 755 /run /run/munge
cp ~/munge.key /run/munge/key
munged --force --key-file=/run/munge/key --pid-file=/run/munge/pid --seed-file=/run/munge/seed \\
    --log-file=/run/munge/log || { cat /run/munge/log; exit 1; }
"""
OPTIONS = ["--gpus-per-node=0", "--cpus-per-task=2"]
TIMEOUT_S = 600.0


def test_it_is_a_script_that_bash_reads() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    """Two nodes with one home, the first of which has Slurm's controller."""
    if find_program("slurmctld") is None:
        pytest.skip("Slurm is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    with running_hosts(folder, ["node1", "node2"], share_home=True) as nodes:
        first = nodes[0]
        give_environment(first)
        left_out = shutil.ignore_patterns(".*", "results", "tests", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT, first.home / "droplora-sweep", ignore=left_out)
        (first.home / "slurm.conf").write_text(CONFIG)
        (first.home / "munge.key").write_bytes(bytes(range(128)))
        (first.home / "munge.key").chmod(0o600)
        servers = []
        for node in nodes:
            # It goes into the background once it listens.
            done = node.run("sh", "-c", MUNGE)
            assert done.returncode == 0, done.stdout
        config = f"{HOME}/slurm.conf"
        servers.append(subprocess.Popen(first.command("slurmctld", "-D", "-f", config)))
        for node in nodes:
            command = node.command("slurmd", "-D", "-f", config, "-N", node.name)
            servers.append(subprocess.Popen(command))
        wait_until(first, "sinfo --noheader --format=%t%D", "idle2")
        yield nodes
        for server in servers:
            server.kill()
            server.wait(30)


def slurm(node: Host, command: str) -> str:
    done = node.run("sh", "-c", f"export SLURM_CONF={HOME}/slurm.conf; {command}")
    return done.stdout.strip()


def wait_until(node: Host, command: str, wanted: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := slurm(node, command)) != wanted:
        assert time.monotonic() < deadline, f"{command}: {found}"
        time.sleep(1)


@pytest.mark.slow
def test_slurm_accepts_it(nodes: list[Host]) -> None:
    words = " ".join(OPTIONS)
    said = slurm(
        nodes[0], f"cd droplora-sweep && sbatch --test-only {words} cluster/slurm.sbatch x.yaml"
    )
    assert "to start at" in said
    assert "on nodes node[1-2]" in said
