"""Bounds by hand, and what counts the work."""

from __future__ import annotations

import pytest
import torch

from tests.gpu.checks.step import FLOOR, work_of_step
from tests.gpu.roofline import Launches, Paces, bound_s, data_sheet_flops
from tests.gpu.rows import judged
from tests.gpu.setting import TINY, Setting

PACES = Paces(flops=100e12, bytes=2e12, launch_s=5e-6)


def test_a_bound_is_what_the_device_does_or_is_told() -> None:
    # 0.2 s of products and 0.1 s of traffic, one after the other.
    assert bound_s(PACES, flops=20e12, num_bytes=0.2e12, num_launches=10) == pytest.approx(0.3)
    # A million launches of 5 microseconds.
    assert bound_s(PACES, flops=20e12, num_bytes=0, num_launches=1e6) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(1.0, "passed"), (1.45, "passed"), (1.6, "failed")]
)
def test_a_step_that_falls_below_the_floor_fails(seconds: float, outcome: str) -> None:
    bound = bound_s(PACES, flops=30e12, num_bytes=0, num_launches=0)
    assert judged("step", "lora", bound / seconds, low=FLOOR).outcome == outcome


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", None),
        ("CPU", None),
    ],
)
def test_the_data_sheet_of_a_device(name: str, teraflops: float | None) -> None:
    assert data_sheet_flops(name) == (None if teraflops is None else teraflops * 1e12)


def test_operations_that_compute_are_counted() -> None:
    left = torch.randn(4, 6)
    with Launches() as counter:
        # A transposed view is no work of the device's.
        _ = (left @ left.t()).relu_()
    assert counter.count == 2


def test_the_work_of_a_step_by_hand(setting: Setting) -> None:
    spec = setting.trial(num_train=2, micro_batch=2, global_batch=2)
    flops, num_bytes = work_of_step(setting, spec)
    width, mlp, layers, vocabulary = 64, 96, 2, 320
    matrices = layers * (2 * width**2 + 2 * width * 32 + 3 * width * mlp) + vocabulary * width
    # q, k, v, up and down of rank 4.
    trained = layers * TINY.rank * (128 + 96 + 96 + 160 + 160)
    attention = 2 * width * layers * TINY.sequence_tokens
    per_token = 4 * (matrices + trained) + 2 * trained + 3 * attention
    assert flops == 2 * TINY.sequence_tokens * per_token
    assert num_bytes > 4 * matrices
