"""What tests of several packages share: one Ray on this machine, and a trial that takes seconds."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def small_sweep() -> Callable[..., Any]:
    """Makes a sweep of the built-in model on one built-in task whose trials take a second or two.

    Keyword arguments replace sections: ``small_sweep(group={"recycle_after": 1})``.
    """
    from droplora_sweep.spec import SweepSpec

    def make(**sections: Any) -> SweepSpec:
        return SweepSpec.model_validate(
            {
                "name": "small",
                "task": {
                    "benchmarks": ["builtin_choice"],
                    "num_train": 32,
                    "num_validation": 8,
                },
                "adapter": {"rank": 4, "alpha": 8, "pruning_rate": 0.25, "dropout": 0.0},
                "training": {
                    "learning_rate": 2e-3,
                    "epochs": 1,
                    "global_batch_size": 8,
                    "micro_batch_size": 4,
                    "warmup_steps": 0,
                },
                "evaluation": {"num_evaluations": 2, "max_new_tokens": 12},
                **sections,
            }
        )

    return make


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray of this test module's own, with two CPUs."""
    import ray

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    saved = os.environ.pop("RAY_ADDRESS", None)
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        logging_level=logging.WARNING,
        log_to_driver=False,
        _temp_dir=folder,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    if saved is not None:
        os.environ["RAY_ADDRESS"] = saved
