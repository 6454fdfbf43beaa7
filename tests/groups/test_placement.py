"""Groups over the raylets of a cluster: on as few as fit, on one, on many, by type of GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.raylets import ROOT, running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.raylets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]

GROUP = {"num_workers": 2, "max_groups": 1}
SETTINGS = [
    {"placement": "strict_pack"},
    {"placement": "spread", "network_interface": "lo"},
    {"accelerator_type": "H100"},
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two raylets with room for all groups each; Ray is told of a GPU's type on the second."""
    with running_cluster([6, 6], resources=[{}, {"accelerator_type:H100": 1}]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def placed(cluster: Cluster) -> list[dict[str, Any]]:
    script = Path(__file__).with_name("placed_groups.py")
    settings = json.dumps([{**GROUP, **one} for one in SETTINGS])
    done = subprocess.run(
        [sys.executable, str(script), cluster.address, settings],
        env={**cluster.environment, "RAY_ADDRESS": cluster.address},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.stdout, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_strictly_packed_group_is_on_one_node(placed: list[dict[str, Any]]) -> None:
    assert len(placed[0]["nodes"]) == 2
    assert len(set(placed[0]["nodes"])) == 1


def test_a_spread_group_is_on_both_nodes_though_one_has_room(placed: list[dict[str, Any]]) -> None:
    assert len(set(placed[1]["nodes"])) == 2


def test_workers_reach_each_other_through_the_interface_that_is_named(
    placed: list[dict[str, Any]],
) -> None:
    variables = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "=lo"}
    assert placed[1]["environment"] == [variables] * 2
    assert "127.0.0.1" in placed[1]["addresses"]
    assert placed[0]["environment"] == [{}] * 2


def test_a_group_is_on_the_node_with_its_type_of_gpu(
    cluster: Cluster, placed: list[dict[str, Any]]
) -> None:
    assert placed[2]["nodes"] == [cluster.node_id(1)] * 2


def test_an_interface_that_a_node_has_not_is_refused_in_a_line(
    cluster: Cluster, tmp_path: Path
) -> None:
    settings = ("group.network_interface=droplora7", f"storage={tmp_path}")
    words = [part for setting in settings for part in ("--set", setting)]
    command = ["droplora_sweep", "run", "search_spaces/quickstart.yaml", *words]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--address", cluster.address],
        env=cluster.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "network_interface" in line]
    assert "group.network_interface: must be an interface of every node, got droplora7" in line
    assert "lo" in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "quickstart").exists()
