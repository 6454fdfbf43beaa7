"""A sweep on a cluster whose workers join after it: it waits for them, and not for ever."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster.test_running_cluster import ROOT, SMALL, check_complete, run
from tests.raylets import late_raylet, running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.raylets import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow]

JOINS_AFTER_S = 20.0


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    """A head that trains nothing."""
    with running_cluster([0]) as cluster:
        yield cluster


def command(head: Cluster, storage: Path, *settings: str) -> list[str]:
    sweep = ["droplora-sweep", "run", "search_spaces/quickstart.yaml", *SMALL]
    given = [word for one in settings for word in ("--set", one)]
    return [*sweep, "--set", f"storage={storage}", *given, "--address", head.address]


def test_a_cluster_that_stays_without_workers_is_refused_once_the_time_is_over(
    head: Cluster, tmp_path: Path
) -> None:
    done = run(command(head, tmp_path, "group.wait_for_nodes_minutes=0.05"), head)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "waiting up to 0.05 min for nodes to join: a group needs 1 worker of 1 CPU" in (
        " ".join(done.stdout.split())
    )
    said = [line for line in done.stderr.splitlines() if "group.num_workers" in line]
    assert len(said) == 1, done.stderr
    assert "must be at most 0, as many workers of 1 CPU as the cluster can hold, got 1" in said[0]
    assert said[0].endswith("that makes room: start nodes, or wait longer")
    assert list(tmp_path.iterdir()) == []


def test_plan_says_what_a_run_on_a_head_alone_would_wait_for(head: Cluster) -> None:
    words = ["plan", "search_spaces/quickstart.yaml", "--set", "group.num_workers=1"]
    done = run(["droplora-sweep", *words, "--address", head.address], head)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = (
        "group: `run` would wait up to 15 min for nodes to join: a group needs 1 worker of 1 CPU, "
        "the cluster can hold 0 so far"
    )
    assert wanted in " ".join(done.stdout.split())


def test_a_sweep_that_arrives_before_the_first_worker_runs_once_it_has_joined(
    head: Cluster, tmp_path: Path
) -> None:
    driver = subprocess.Popen(
        command(head, tmp_path),
        cwd=ROOT,
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert driver.stdout is not None
        lines = []
        for line in driver.stdout:
            lines.append(line)
            if "waiting up to 15 min for nodes" in line:
                break
        assert driver.poll() is None, "".join(lines)
        time.sleep(JOINS_AFTER_S)
        with late_raylet(head, 2):
            output, _ = driver.communicate(timeout=240)
            assert driver.returncode == 0, "".join(lines) + output
    finally:
        driver.kill()
    assert "room for a group after" in output
    check_complete(tmp_path, "quickstart")
