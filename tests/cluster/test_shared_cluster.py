"""A cluster and a machine that others use too: what they can read and change of a sweep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.groups.cluster import NAMESPACE
from tests.raylets import running_cluster
from tests.run.outside.test_metrics import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
OTHER_USER = 65534
"""Nobody's id, of whom no file is."""
ASK = """
import ray
ray.init(address={address!r}, log_to_driver=False, logging_level="ERROR")
found = [one for one in ray.util.list_named_actors(all_namespaces=True)]
print([one["name"] for one in found if one["namespace"] == {namespace!r}])
[pool] = [one["name"] for one in found if one["name"].startswith("quickstart-")
          and "files" not in one["name"]][:1]
print(ray.get(ray.get_actor(pool, namespace={namespace!r}).workload.remote()))
"""


def readable_to_others(folder: Path) -> str:
    """Files that another user of this machine can read, and what is refused to it."""
    done = subprocess.run(
        ["find", folder, "-type", "f", "-readable"],
        user=OTHER_USER,
        group=OTHER_USER,
        extra_groups=(),
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="open-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_others_read_no_file_and_need_the_clusters_token(open_folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    storage = open_folder / "results"
    (open_folder / "open.txt").write_text("all can read this")
    with running_cluster([0, 1]) as cluster:
        words = [f"--set={field}={value}" for field, value in SMALL.items()]
        space = str(ROOT / "search_spaces" / "quickstart.yaml")
        command = [sys.executable, "-m", "droplora_sweep", "run", space, *words]
        with subprocess.Popen(
            [*command, f"--set=storage={storage}", "--address", cluster.address],
            cwd=ROOT,
            env=cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as driver:
            while not list(storage.glob("quickstart/trials/*")) and driver.poll() is None:
                time.sleep(0.5)
            asked = ASK.format(address=cluster.address, namespace=NAMESPACE)
            own = subprocess.run(
                [sys.executable, "-c", asked],
                env=cluster.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            without = {
                name: value for name, value in cluster.environment.items() if "RAY_AUTH" not in name
            }
            refused = subprocess.run(
                [sys.executable, "-c", asked],
                env={**without, "HOME": str(open_folder)},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            seen = readable_to_others(open_folder).splitlines()
            driver.communicate()
    assert driver.returncode == 0
    # Whoever has the token is as powerful as the sweep's user: Ray knows no others.
    assert own.returncode == 0, own.stderr
    assert "Workload(num_waiting=" in own.stdout
    assert refused.returncode != 0
    assert "Workload(" not in refused.stdout
    assert [line for line in seen if "Permission denied" not in line] == [
        str(open_folder / "open.txt")
    ]
    assert [line for line in seen if "Permission denied" in line and str(storage) in line]
