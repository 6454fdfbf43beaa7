"""A worker knows its own GPU among those that it sees, by what Ray reserved for it."""

from __future__ import annotations

import os

import pytest
import ray

from droplora_sweep.errors import InputError
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
