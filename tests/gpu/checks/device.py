"""The device itself: its paces, which the other checks' bounds are made of, and bfloat16."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from droplora_sweep.training.device import require_precision
from tests.gpu.case import Case
from tests.gpu.roofline import data_sheet_flops, measured_paces
from tests.gpu.rows import Row, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gpu.setting import Setting

LEAST_OF_DATA_SHEET = 0.4
"""Share of its data sheet that a sound device reaches with a product of 8192 x 8192: clocks fall
under load (an H200 was seen at 0.8), and an A10G's sheet counts a rate that it never has."""


def cases(setting: Setting) -> Iterator[Case]:
    yield Case("paces", partial(paces, setting))
    yield Case("bfloat16", partial(bfloat16, setting))


def paces(setting: Setting) -> Iterator[Row]:
    found = measured_paces(setting)
    yield Row(
        check="device",
        case="copy",
        value=found.bytes / 1e9,
        unit="GB/s",
        outcome="measured",
        note="read and written",
    )
    yield Row(
        check="device", case="launch", value=found.launch_s * 1e6, unit="us", outcome="measured"
    )
    name = torch.cuda.get_device_name() if setting.device == "cuda" else "CPU"
    sheet, teraflops = data_sheet_flops(name), found.flops / 1e12
    if sheet is None:
        yield Row(
            check="device",
            case="product",
            value=teraflops,
            unit="TFLOP/s",
            outcome="measured",
            note=f"no data sheet of {name} is known",
        )
        return
    yield judged(
        "device",
        "product",
        teraflops,
        "TFLOP/s",
        low=LEAST_OF_DATA_SHEET * sheet / 1e12,
        note=f"{name}: {sheet / 1e12:.0f} by its data sheet",
    )


def bfloat16(setting: Setting) -> Iterator[Row]:
    """A product in bfloat16 against float64: its inputs are exact, its sum is rounded once."""
    device = setting.torch_device
    require_precision(device, "bfloat16")
    torch.manual_seed(0)
    left, right = (torch.randn(64, 64, dtype=torch.bfloat16) for _ in range(2))
    exact = left.double() @ right.double()
    found = (left.to(device) @ right.to(device)).cpu().double()
    error = float((found - exact).abs().max() / exact.abs().max())
    row = judged("device", "bfloat16 product", error, high=2.0**-8, note="relative to the largest")
    yield row
