"""Loss, gradient and update do not depend on how a global batch is split over workers and
micro-batches, and are those of plain torch with Hugging Face's loss; on real gloo processes.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.training.device import settle

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("split_worker.py")
MICRO_BATCH_SIZES = (1, 2, 4)


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(WORKER.stem, WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plain(worker: ModuleType) -> dict[str, dict[str, torch.Tensor]]:
    """Results of plain torch, by mask."""
    base = worker.base_model()
    return {
        mask: worker.run_plain(base, worker.trial(1, **adapter))
        for mask, adapter in worker.MASKS.items()
    }


@pytest.fixture(scope="module")
def seen(worker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple, dict]:
    """Cases seen by this process alone and by each of two processes, by (world size, rank)."""
    folder = tmp_path_factory.mktemp("group")
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), "2", str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    settle(threads=1)
    alone = worker.run_cases()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    together = {(2, rank): torch.load(folder / f"rank{rank}.pt") for rank in range(2)}
    return {(1, 0): alone, **together}


@pytest.mark.parametrize("mask", ["none", "step"])
@pytest.mark.parametrize("micro_batch_size", MICRO_BATCH_SIZES)
@pytest.mark.parametrize("world_size", [1, 2])
def test_training_is_that_of_plain_torch(
    seen, plain, mask: str, micro_batch_size: int, world_size: int
) -> None:
    expected = plain[mask]
    ours = seen[world_size, 0][mask, micro_batch_size]
    torch.testing.assert_close(ours["losses"], expected["losses"], rtol=2e-6, atol=0)
    torch.testing.assert_close(ours["norms"], expected["norms"], rtol=1e-5, atol=0)
    difference = (ours["gradients"] - expected["gradients"]).norm(dim=1)
    assert (difference / expected["gradients"].norm(dim=1)).max() < 1e-5
    torch.testing.assert_close(ours["weights"], expected["weights"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", ["none", "step"])
def test_all_ranks_hold_the_same_weights(seen, mask: str) -> None:
    for size in MICRO_BATCH_SIZES:
        first, second = (seen[2, rank][mask, size] for rank in range(2))
        assert torch.equal(first["weights"], second["weights"])
        assert torch.equal(first["losses"], second["losses"])


def test_masks_change_the_gradient(plain) -> None:
    """So the comparisons above with ``step`` masks say something about the masks."""
    unmasked, masked = (plain[mask]["gradients"][0] for mask in ("none", "step"))
    assert (unmasked - masked).norm() > 0.1 * unmasked.norm()
