"""What tests of several packages share: a Ray and an S3 server on this machine, a small sweep."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import calling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, output and complaints of a command."""
    return partial(calling.call, capsys)


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


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None
                assert time.monotonic() < deadline, "moto did not start"
                time.sleep(0.2)
        yield port
        server.terminate()


@pytest.fixture
def s3_url(s3_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty bucket's URL, as a user gives it; mirrors lie below the test's folder."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-in-particular")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tulip-in-march")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-1"))
    bucket = f"b{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"http://127.0.0.1:{s3_port}/{bucket}", method="PUT")
    urllib.request.urlopen(request, timeout=20)
    return (
        f"s3://{bucket}/sweeps?scheme=http&endpoint_override=127.0.0.1:{s3_port}&region=us-east-1"
    )
