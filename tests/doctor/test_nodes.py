"""The doctor on a real cluster: a head that trains nothing and two raylets, one of them unlike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from typing import TYPE_CHECKING, Any

import pytest

from tests.raylets import BIN, ROOT, WAIT_FOR_ALL, late_raylet, running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.raylets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(400)]

SPACE = "search_spaces/quickstart.yaml"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster([0, 1, 1]) as cluster:
        yield cluster


def call(cluster: Cluster, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "python", "-m", "droplora_sweep", *words, "--address", cluster.address],
        cwd=ROOT,
        env={**cluster.environment, "HF_HUB_OFFLINE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def call_from_elsewhere(
    cluster: Cluster, package: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """A command of this package in that folder, which Ray's workers do not see.

    They import what is in the driver's working folder.
    """
    return subprocess.run(
        [BIN / "python", "-P", "-m", "droplora_sweep", *words, "--address", cluster.address],
        cwd="/",
        env={**cluster.environment, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def levels(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """Findings by check."""
    assert "Traceback" not in done.stdout + done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["check"], []).append(one)
    return found


def test_a_worker_on_each_node_is_tried_and_they_sum_together(
    cluster: Cluster, tmp_path: Path
) -> None:
    done = call(cluster, "doctor", SPACE, "--set", f"storage={tmp_path}", "--json")
    found = levels(done)
    assert done.returncode == 0, done.stdout + done.stderr
    for check in ("versions", "clock", "all-reduce", "deepspeed", "torch", "attention"):
        assert [one["level"] for one in found[check]] == ["ok", "ok"], found[check]
        assert len({one["place"] for one in found[check]}) == 2
    assert {one["text"] for one in found["all-reduce"]} == {"gloo, 2 processes"}
    for check in ("storage", "model"):
        assert [one["level"] for one in found[check]] == ["ok"] * 3, found[check]
    assert list(tmp_path.iterdir()) == []


def test_a_driver_whose_code_is_not_that_of_the_nodes_is_refused_before_training(
    cluster: Cluster, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(ROOT / "droplora_sweep", other / "droplora_sweep")
    with (other / "droplora_sweep" / "files.py").open("a") as file:
        file.write("# another version\n")
    words = ["run", str(ROOT / SPACE), "--set", f"storage={tmp_path / 'results'}"]
    done = call_from_elsewhere(cluster, other, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if ": versions: " in line]
    assert len(lines) == 2, done.stderr
    assert "the driver's is" in lines[0]
    assert not (tmp_path / "results" / "quickstart").exists()


def test_the_same_cluster_cannot_hold_a_group_of_nine(cluster: Cluster, tmp_path: Path) -> None:
    settings = ["--set", f"storage={tmp_path}", "--set", "group.num_workers=9"]
    done = call(cluster, "doctor", SPACE, *settings, "--json")
    [fault] = levels(done)["capacity"]
    assert done.returncode == 1
    assert "must be at most 2" in fault["text"]


@pytest.fixture
def bare_node(cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """A further node whose Python has all but this package."""
    folder = tmp_path / "bare"
    subprocess.run([BIN / "python", "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    # Of a folder that is named there Python does not read what adds this package's folder.
    [packages] = (folder / "lib").glob("*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    lacks = [python, "-c", "import ray, droplora_sweep"]
    environment = {
        name: value for name, value in cluster.environment.items() if name != "PYTHONPATH"
    }
    said = subprocess.run(lacks, env=environment, cwd="/", capture_output=True, text=True)
    assert "No module named 'droplora_sweep'" in said.stderr
    with late_raylet(cluster, 1, python, environment):
        cluster.ask("0", WAIT_FOR_ALL.format(count=4))
        yield


@pytest.mark.usefixtures("bare_node")
def test_a_node_without_this_package_is_one_line_of_doctor_and_of_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    words = [str(ROOT / SPACE), "--set", f"storage={tmp_path / 'results'}"]
    done = call_from_elsewhere(cluster, ROOT, "doctor", *words, "--json")
    found = levels(done)
    assert done.returncode == 1, done.stdout + done.stderr
    assert [one["level"] for one in found["versions"]].count("fault") == 1
    [fault] = [one for one in found["versions"] if one["level"] == "fault"]
    assert fault["text"].endswith("No module named 'droplora_sweep'")
    assert "install this package" in fault["advice"]
    assert "node" not in found
    assert [one["level"] for one in found["all-reduce"]] == ["ok", "ok"], found["all-reduce"]
    done = call_from_elsewhere(cluster, ROOT, "run", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = [line for line in done.stderr.splitlines() if ": versions: " in line]
    assert "No module named 'droplora_sweep'; install this package" in line
    assert not (tmp_path / "results" / "quickstart").exists()
