"""A worker computes on what it has reserved, whatever it can see."""

from __future__ import annotations

import platform

import pytest
import torch

from droplora_sweep.errors import InputError
from droplora_sweep.spec import GroupSpec
from droplora_sweep.training import device


@pytest.fixture
def two_gpus_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus_in_sight")
def test_a_worker_without_a_gpu_of_its_own_uses_the_cpu() -> None:
    assert device.settle(1) == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus_in_sight")
def test_a_worker_uses_the_gpu_that_it_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.gpu(1) == torch.device("cuda", 1)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(InputError) as caught:
        device.gpu(2)
    assert str(caught.value) == (
        f"group.gpus_per_worker: must be 0 on {platform.node()}: torch sees 2 of them, "
        "not number 2, got 1"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch can use")
def test_a_gpu_that_torch_cannot_use() -> None:
    with pytest.raises(InputError) as caught:
        device.settle(1, 0)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"group.gpus_per_worker: must be 0 on {platform.node()}: ")
    assert line.endswith(", got 1")


def test_more_gpus_a_worker_are_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal to 1"):
        GroupSpec.model_validate({"gpus_per_worker": 2})
