"""Two ranks that share a trial, over NCCL or on CPUs over gloo, against one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from tests.gpu.case import Case
from tests.gpu.checks.determinism import difference
from tests.gpu.rows import Row, judged, skipped
from tests.gpu.setting import builtin_trial, runner, trained
from tests.saved_files import read_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.trial import TrialSpec
    from tests.gpu.setting import Setting

CHECK: Final = "ranks"
NUM_RANKS: Final = 2
TIMEOUT_S: Final = {"cuda": 90, "cpu": 400}
"""Seconds for the ranks to end, on CPUs that are shared with others many."""
REDUCED_BYTES: Final = 1 << 22
LOSS: Final = 1e-4
"""Most relative difference of the mean loss of the steps, in float32; sums are in another order."""
ADAPTER: Final = 0.01
"""Most relative difference of the adapters, as of the check ``zero``."""
ROOT: Final = Path(__file__).parents[3]


def cases(setting: Setting) -> Iterator[Case]:
    yield Case("two ranks", partial(two_ranks, setting))


def trial() -> TrialSpec:
    """Return a trial that draws nothing: each rank draws masks of its own."""
    return builtin_trial(pruning_rate=0.0, dropout=0.0)


def two_ranks(setting: Setting) -> Iterator[Row]:
    if setting.device == "cuda" and torch.cuda.device_count() < NUM_RANKS:
        yield skipped(CHECK, "two ranks", f"{torch.cuda.device_count()} GPU here, and two needed")
        return
    files, loss = trained(runner(setting), trial())
    with tempfile.TemporaryDirectory(dir=setting.folder) as name:
        folder = Path(name)
        run_ranks(setting.device, folder)
        seen = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(NUM_RANKS)]
        together = read_files(folder / "files")
    its_loss = seen[0]["loss"]
    yield judged(
        CHECK,
        "loss, one and two",
        abs(loss - its_loss) / loss,
        high=LOSS,
        note=f"{loss:.6f} and {its_loss:.6f}",
    )
    yield judged(CHECK, "adapter, one and two", difference(files, together), high=ADAPTER)
    # Twice: each is given the sum of the one before.
    yield judged(CHECK, "sum", seen[0]["sum"], low=NUM_RANKS**2, high=NUM_RANKS**2)
    rate = REDUCED_BYTES / max(one["reduce_s"] for one in seen) / 1e9
    yield Row(check=CHECK, case="all-reduce", value=rate, unit="GB/s", outcome="measured")


def run_ranks(device: str, folder: Path) -> None:
    """Run the ranks to their end.

    Raises:
        RuntimeError: One fails, or they are not done in time; all are ended.
    """
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.gpu.rank"),
                *(str(rank), str(NUM_RANKS), device, str(folder)),
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(NUM_RANKS)
    ]
    try:
        for rank, process in enumerate(processes):
            _, said = process.communicate(timeout=TIMEOUT_S[device])
            if process.returncode != 0:
                sys.stderr.write(said)
                last = said.strip().splitlines()[-1:] or ["nothing was said"]
                raise RuntimeError(f"rank {rank} ended with {process.returncode}: {last[0]}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
