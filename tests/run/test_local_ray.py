"""The Ray that a sweep starts for itself: on the loopback interface, and with a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

START = """
import json, os, stat, sys
import psutil
# A sweep's modules import ray before it connects.
import ray
from droplora_sweep.run.connection import connect

with connect("local"):
    import ray
    family = psutil.Process().children(recursive=True)
    listening = sorted({
        connection.laddr.ip
        for process in (psutil.Process(), *family)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    })
    token = os.environ["RAY_AUTH_TOKEN_PATH"]
    print(json.dumps({
        "address": ray.get_runtime_context().gcs_address,
        "listening": listening,
        "token": token,
        "mode": stat.S_IMODE(os.stat(token).st_mode),
        "folder": stat.S_IMODE(os.stat(os.path.dirname(token)).st_mode),
    }), flush=True)
    sys.stdin.readline()
assert "RAY_AUTH_TOKEN_PATH" not in os.environ
assert not os.path.exists(os.path.dirname(token))
"""
JOIN = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
print("joined", ray.cluster_resources()["CPU"])
"""


def join(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return the result of a client of the same user with these variables."""
    quick = {"RAY_gcs_rpc_server_reconnect_timeout_s": "3", "RAY_NUM_REDIS_GET_RETRIES": "2"}
    others = {name: os.environ[name] for name in os.environ if not name.startswith("RAY_AUTH")}
    local = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    return subprocess.run(
        [sys.executable, "-c", JOIN, address],
        env={**others, **quick, **local, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_a_killed_driver_left_is_removed_by_the_next_one() -> None:
    with started() as killed:
        assert killed.stdout is not None
        left = Path(json.loads(killed.stdout.readline())["token"]).parent
        with started() as other:
            assert other.stdout is not None
            json.loads(other.stdout.readline())
            assert left.is_dir(), "its driver lives"
            other.communicate("\n")
        killed.kill()
    assert left.is_dir()
    with started() as following:
        assert following.stdout is not None
        json.loads(following.stdout.readline())
        assert not left.exists()
        following.communicate("\n")


def test_it_listens_on_this_machine_alone_and_takes_orders_only_with_its_token() -> None:
    with started() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert set(told["listening"]) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert (told["mode"], told["folder"]) == (0o600, 0o700)

        without = join(told["address"], RAY_AUTH_MODE="disabled")
        wrong = join(told["address"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        own = join(told["address"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=told["token"])
        for refused in (without, wrong):
            assert refused.returncode != 0
            assert "joined" not in refused.stdout
            assert "InvalidAuthToken" in refused.stderr
        assert "joined" in own.stdout, own.stderr
        process.stdin.write("\n")
    assert process.returncode == 0


def test_a_ray_that_cannot_start_is_told_in_a_line() -> None:
    """Its processes have no room for their memory."""
    script = (
        "import resource\n"
        "from droplora_sweep.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "main(['run', 'search_spaces/quickstart.yaml', '--address', 'local', '--name', 'none'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Ray does not start on this machine: ")
