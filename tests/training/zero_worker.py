"""One of several workers that serve trials of different stages together, for test_zero.py.

python -m tests.training.zero_worker RANK NUM_RANKS FOLDER: reads trials.json, a list of trials;
writes what this rank saw of each, and what it holds of a model that is split.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from droplora_sweep.errors import TrialInterruptedError
from droplora_sweep.models.loading import load_base_model, load_sharded_model
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import CheckpointSpec
from droplora_sweep.spec.trial import TrialSpec
from droplora_sweep.training.checkpoints.places import checkpoint_place
from droplora_sweep.training.checkpoints.store import Checkpoints
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import ModelSpec
    from droplora_sweep.training.reporting import Report


def split(model: ModelSpec, rank: int) -> dict[str, Any]:
    """Return a rank's part of a split model, and its outputs beside those of a whole one."""
    whole = load_base_model(model)
    sharded = load_sharded_model(model, torch.device("cpu"))
    tokens_1T = torch.arange(2, 12)[None]
    with torch.no_grad():
        expected = whole(tokens_1T).logits
        with sharded.in_step():
            # As many as no other rank runs.
            found = [sharded.model(tokens_1T).logits for _ in range(rank + 1)]
    # Nothing is left behind that a collective waits for.
    dist.barrier()
    weights = dict(sharded.model.named_parameters())
    return {
        "num_bytes": sharded.num_bytes,
        "whole_bytes": sum(one.numel() * one.element_size() for one in whole.parameters()),
        "is_equal": all(torch.equal(one, expected) for one in found),
        "is_away": all(bool(one.isnan().all()) for one in weights.values()),
        "shapes": {name: tuple(one.shape) for name, one in weights.items()},
        "expected_shapes": {name: tuple(one.shape) for name, one in whole.named_parameters()},
    }


def run(resident: TrialRunner, spec: TrialSpec, stop_at: int | None, folder: Path) -> Any:
    reports: list[Report | None] = []

    def decide(report: Report | None) -> Decision:
        reports.append(report)
        return Decision.GO_ON

    def on_step(step: int, num_steps: int) -> bool:
        if step == stop_at:
            raise TrialInterruptedError("planned")
        return False

    checkpoints = Checkpoints(checkpoint_place(str(folder)), CheckpointSpec())
    resident.serve(spec.model, spec.training.zero)
    try:
        files = trained_files(resident, spec, decide, on_step=on_step, checkpoints=checkpoints)
    except TrialInterruptedError:
        return None
    last = reports[-1]
    return {
        "files": files,
        "metrics": {} if last is None else dict(last.evaluation.metrics),
        "results": [] if last is None else last.results,
    }


def main(rank: int, num_ranks: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=num_ranks
    )
    trials = json.loads((folder / "trials.json").read_text())
    specs = [TrialSpec.model_validate_json(json.dumps(trial["spec"])) for trial in trials]
    resident = TrialRunner(specs[0].model, threads=1, zero=specs[0].training.zero)
    seen = {"split": split(specs[0].model, rank), "trials": []}
    for spec, trial in zip(specs, trials, strict=True):
        seen["trials"].append(run(resident, spec, trial["stop_at"], folder / trial["folder"]))
    torch.save(seen, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
