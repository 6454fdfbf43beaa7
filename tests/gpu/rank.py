"""One of several ranks that train a trial together, for the check ``ranks``.

``python -m tests.gpu.rank RANK NUM_RANKS DEVICE FOLDER`` writes on rank 0 what it has trained, and
on every rank the seconds of a sum over all ranks.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from droplora_sweep.training.runner import TrialRunner
from tests.gpu.checks.ranks import REDUCED_BYTES, trial
from tests.gpu.setting import trained
from tests.saved_files import write_files


def main(rank: int, num_ranks: int, device_type: str, folder: Path) -> None:
    is_gpu = device_type == "cuda"
    if is_gpu:
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if is_gpu else "gloo",
        init_method=f"file://{folder}/group",
        rank=rank,
        world_size=num_ranks,
    )
    spec = trial()
    resident = TrialRunner(spec.model, threads=1, gpu_index=rank if is_gpu else None)
    files, loss = trained(resident, spec)
    place = f"cuda:{rank}" if is_gpu else "cpu"
    numbers = torch.ones(REDUCED_BYTES // 4, device=place)
    for _ in range(2):
        dist.barrier()
        started_s = time.perf_counter()
        dist.all_reduce(numbers)
        total = float(numbers[0])
        seconds = time.perf_counter() - started_s
    seen = {"loss": loss, "reduce_s": seconds, "sum": total}
    if rank == 0:
        write_files(folder / "files", files)
    (folder / f"rank{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
