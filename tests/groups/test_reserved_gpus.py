"""A worker knows its own GPU among those that it sees, by what Ray reserved for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import torch

from droplora_sweep.errors import InputError
from droplora_sweep.groups.reserved import reserved_gpu
from tests.raylets import own_ray

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ROOT = Path(__file__).parents[2]


def test_the_index_of_a_reserved_gpu() -> None:
    @ray.remote(num_cpus=0)
    def seen(visible: str | None = None) -> int | None:
        if visible is not None:
            # As Ray Train sets it: all GPUs of the ranks on this node.
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
        return reserved_gpu()

    with own_ray(num_gpus=4):
        assert ray.get(seen.remote()) is None
        assert ray.get(seen.remote("0,1,2,3")) is None
        assert ray.get(seen.options(num_gpus=1).remote()) == 0

        @ray.remote(num_cpus=0, num_gpus=1)
        class Worker:
            def own(self) -> str:
                return ray.get_runtime_context().get_accelerator_ids()["GPU"][0]

            def index(self) -> int | None:
                os.environ["CUDA_VISIBLE_DEVICES"] = "0,1,2,3"
                return reserved_gpu()

            def index_where_none_is_hidden(self) -> int | None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
                return reserved_gpu()

            def problem_where_it_is_hidden(self) -> str:
                os.environ["CUDA_VISIBLE_DEVICES"] = "7"
                with pytest.raises(InputError) as caught:
                    reserved_gpu()
                return str(caught.value)

        workers = [Worker.remote() for _ in range(3)]
        for worker in workers:
            own = ray.get(worker.own.remote())
            assert str(ray.get(worker.index.remote())) == own
            assert str(ray.get(worker.index_where_none_is_hidden.remote())) == own
            assert ray.get(worker.problem_where_it_is_hidden.remote()) == (
                f"CUDA_VISIBLE_DEVICES: must have GPU {own}, which Ray reserved for this worker, "
                "got 7"
            )


@pytest.mark.timeout(600)
def test_a_sweep_on_a_gpu_that_torch_cannot_use_is_refused_in_a_line(tmp_path: Path) -> None:
    """Ray was told of a GPU; this torch is built for CPUs, as on a node with the wrong wheel."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    settings = {
        "group.gpus_per_worker": 1,
        "group.num_workers": 1,
        "group.cpus_per_worker": 1,
        "search.num_trials": 2,
        "storage": tmp_path,
    }
    words = [part for path, value in settings.items() for part in ("--set", f"{path}={value}")]
    with own_ray(num_gpus=1):
        address = ray.get_runtime_context().gcs_address
        done = subprocess.run(
            [
                *(sys.executable, "-m", "droplora_sweep", "run", "search_spaces/quickstart.yaml"),
                *("--address", address, *words),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if "gpus_per_worker" in line]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("group.gpus_per_worker: must be 0 on ")
    assert "is built for CPUs" in said[0] or "finds no GPU" in said[0]
    assert "Traceback" not in done.stderr
