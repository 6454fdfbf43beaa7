"""Loss, gradient and update do not depend on how a global batch is split over workers and
micro-batches, and are those of plain torch with Hugging Face's loss; on real gloo processes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("split_worker.py")
MICRO_BATCH_SIZES = (1, 2, 4)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What one process and each of two processes saw: (world size, rank) to its cases."""
    folders = {size: tmp_path_factory.mktemp(f"world{size}") for size in (1, 2)}
    ranks = [(size, rank) for size in folders for rank in range(size)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), str(size), str(folders[size])],
            stderr=subprocess.PIPE,
            text=True,
        )
        for size, rank in ranks
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(errors)
    return {(size, rank): torch.load(folders[size] / f"rank{rank}.pt") for size, rank in ranks}


@pytest.mark.parametrize("mask", ["none", "step"])
@pytest.mark.parametrize("micro_batch_size", MICRO_BATCH_SIZES)
@pytest.mark.parametrize("world_size", [1, 2])
def test_training_is_that_of_plain_torch(
    seen, mask: str, micro_batch_size: int, world_size: int
) -> None:
    plain = seen[1, 0][mask, "plain"]
    ours = seen[world_size, 0][mask, micro_batch_size]
    torch.testing.assert_close(ours["losses"], plain["losses"], rtol=2e-6, atol=0)
    torch.testing.assert_close(ours["norms"], plain["norms"], rtol=1e-5, atol=0)
    difference = (ours["gradients"] - plain["gradients"]).norm(dim=1)
    assert (difference / plain["gradients"].norm(dim=1)).max() < 1e-5
    torch.testing.assert_close(ours["weights"], plain["weights"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", ["none", "step"])
def test_all_ranks_hold_the_same_weights(seen, mask: str) -> None:
    for size in MICRO_BATCH_SIZES:
        first, second = (seen[2, rank][mask, size] for rank in range(2))
        assert torch.equal(first["weights"], second["weights"])
        assert torch.equal(first["losses"], second["losses"])


def test_masks_change_the_gradient(seen) -> None:
    """So the comparisons above with ``step`` masks say something about the masks."""
    plain, masked = (seen[1, 0][mask, "plain"]["gradients"][0] for mask in ("none", "step"))
    assert (plain - masked).norm() > 0.1 * plain.norm()
