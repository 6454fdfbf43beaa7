"""A worker computes on what it has reserved, whatever it can see."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.errors import InputError
from droplora_sweep.groups.reserved import gpu_faults
from droplora_sweep.spec import GroupSpec
from droplora_sweep.training import device

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that torch can use")
def test_a_gpu_that_is_hidden_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [fault.field for fault in gpu_faults()] == ["group.gpus_per_worker"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_faults() == []


def test_more_gpus_a_worker_are_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal to 1"):
        GroupSpec.model_validate({"gpus_per_worker": 2})


def switches() -> dict[str, object]:
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "efficient attention": torch.backends.cuda.mem_efficient_sdp_enabled(),
        "cuDNN attention": torch.backends.cuda.cudnn_sdp_enabled(),
        "flash attention": torch.backends.cuda.flash_sdp_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "TF32": torch.backends.cuda.matmul.allow_tf32,
        "filled": torch.utils.deterministic.fill_uninitialized_memory,
    }


@pytest.fixture
def _as_before() -> Iterator[None]:
    """Leave the process as it was: its other tests are bit for bit."""
    yield
    device.set_kernels("seeded")


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("determinism", "on"),
    [
        ("strict", {"deterministic", "flash attention"}),
        ("seeded", {"efficient attention", "cuDNN attention", "flash attention"}),
        (
            "off",
            {"efficient attention", "cuDNN attention", "flash attention", "benchmark", "TF32"},
        ),
    ],
)
def test_kernels_of_each_determinism(determinism: str, on: set[str]) -> None:
    device.set_kernels("off" if determinism == "strict" else "strict")
    device.set_kernels(determinism)
    assert {name for name, is_on in switches().items() if is_on} == on


@pytest.mark.usefixtures("_as_before")
def test_kernels_of_a_cpu_are_left_alone() -> None:
    before = switches()
    device.choose_kernels(torch.device("cpu"), "strict")
    assert switches() == before
    device.choose_kernels(torch.device("cuda", 0), "strict")
    assert switches() != before


def test_a_gpu_without_bfloat16_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    own = torch.device("cuda", 0)
    device.require_precision(own, "float32")
    device.require_precision(torch.device("cpu"), "bfloat16")
    with pytest.raises(InputError) as caught:
        device.require_precision(own, "bfloat16")
    assert str(caught.value) == (
        f"model.dtype: must be float32 on {platform.node()}, whose Tesla V100 has no bfloat16, "
        "got bfloat16"
    )
