"""Parts of training, tried in a process of its own: one line of JSON for each on its output.

Run as ``python -m droplora_sweep.doctor.probe SETTINGS``, the settings as JSON: a part that hangs
or crashes takes nothing else with it, and the parts before it are known.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.nn.attention import SDPBackend, sdpa_kernel

from droplora_sweep.errors import InputError
from droplora_sweep.training.device import gpu, import_deepspeed, require_precision

if TYPE_CHECKING:
    from collections.abc import Callable

KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)
SIZE = 64


def main(settings: dict[str, Any]) -> None:
    """Try every part, one after the other."""
    device = torch.device("cpu")

    def use_torch() -> str:
        nonlocal device
        if settings["is_gpu"]:
            device = gpu(0)
            torch.cuda.set_device(device)
            torch.ones(1, device=device)
            return f"{torch.__version__} on {torch.cuda.get_device_name(device)}"
        return f"{torch.__version__} on the CPU"

    if not tell("torch", use_torch):
        return
    tell("bfloat16", lambda: use_bfloat16(device))
    tell("attention", lambda: use_attention(device, settings["attention"]))
    tell("deepspeed", lambda: str(import_deepspeed(device).__version__))
    tell("all-reduce", lambda: use_all_reduce(device, settings))


def tell(part: str, act: Callable[[], str]) -> bool:
    """Print what comes of a part; False where it fails."""
    try:
        said = {"part": part, "done": act()}
    except InputError as error:
        said = {"part": part, "problem": error.faults[0].problem}
    except Exception as error:  # noqa: BLE001 - libraries raise anything, and all parts are tried
        reason = (str(error) or type(error).__name__).splitlines()[0]
        said = {"part": part, "problem": reason}
    print(json.dumps(said), flush=True)  # noqa: T201 - read by the parent
    return "done" in said


def use_bfloat16(device: torch.device) -> str:
    """Multiply matrices in bfloat16."""
    require_precision(device, "bfloat16")
    matrix = torch.ones(SIZE, SIZE, device=device, dtype=torch.bfloat16)
    product = (matrix @ matrix)[0, 0].item()
    if product != SIZE:
        raise RuntimeError(f"a product of matrices must be {SIZE}, got {product}")
    return "computes"


def use_attention(device: torch.device, wanted: str) -> str:
    """Run each of torch's attention kernels, and see that the package of a wanted one is there."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    heads_BHTD = torch.ones(1, 2, 16, SIZE, device=device, dtype=dtype, requires_grad=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    works = []
    for kernel in KERNELS:
        try:
            with sdpa_kernel(kernel):
                attend(heads_BHTD, heads_BHTD, heads_BHTD).sum().backward()
        except RuntimeError:
            continue
        works.append(kernel.name.removesuffix("_ATTENTION").lower())
    if not works:
        raise RuntimeError("none of torch's attention kernels runs")
    if wanted == "flash_attention_2":
        works.append(f"flash-attn {import_module('flash_attn').__version__}")
    return ", ".join(works)


def use_all_reduce(device: torch.device, settings: dict[str, Any]) -> str:
    """Sum a number over all nodes."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    host, port = settings["host"], settings["port"]
    dist.init_process_group(
        backend,
        init_method=f"tcp://{host}:{port}",
        rank=settings["rank"],
        world_size=settings["world_size"],
        timeout=timedelta(seconds=settings["limit_s"]),
    )
    number = torch.ones(1, device=device)
    dist.all_reduce(number)
    total, wanted = int(number.item()), settings["world_size"]
    dist.barrier()
    dist.destroy_process_group()
    if total != wanted:
        raise RuntimeError(f"a sum of ones must be {wanted}, got {total}")
    return f"{backend}, {wanted} process{'es' * (wanted != 1)}"


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(json.loads(sys.argv[1]))
