"""A worker knows its own GPU among those that it sees, by what Ray reserved for it."""

from __future__ import annotations

import os

import pytest
import ray

from droplora_sweep.groups.worker import reserved_gpu
from tests.raylets import own_ray

pytestmark = [pytest.mark.slow, pytest.mark.ray]


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

        workers = [Worker.remote() for _ in range(3)]
        for worker in workers:
            assert str(ray.get(worker.index.remote())) == ray.get(worker.own.remote())
