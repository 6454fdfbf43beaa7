"""One rank of a real process group that trains, stops and resumes trials, for test_regrouping.py.

python -m tests.training.checkpoint_worker RANK WORLD_SIZE FOLDER JOBS: JOBS is a file with a list
of ``spec``, ``folder`` (of checkpoints, or null) and ``stop_at`` (a step, or null). Rank 0 writes
what each job gave into JOBS.pt: the files, None where it stopped, and the steps it took.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from droplora_sweep.errors import TrialInterruptedError
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import CheckpointSpec, TrialSpec
from droplora_sweep.training.checkpoints.places import CheckpointsInFolder
from droplora_sweep.training.checkpoints.store import Checkpoints
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files


def run(resident: TrialRunner, spec: TrialSpec, job: dict[str, Any]) -> dict[str, Any]:
    steps: list[int] = []

    def on_step(step: int, num_steps: int) -> bool:
        steps.append(step)
        if step == job["stop_at"]:
            raise TrialInterruptedError("stopped")
        return False

    place = CheckpointsInFolder(Path(job["folder"])) if job["folder"] else None
    store = Checkpoints(place, CheckpointSpec()) if place else None
    try:
        files = trained_files(
            resident, spec, lambda _: Decision.GO_ON, on_step=on_step, checkpoints=store
        )
    except TrialInterruptedError:
        return {"files": None, "steps": steps}
    return {"files": files, "steps": steps}


def main(rank: int, world_size: int, folder: Path, jobs_file: Path) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=world_size
    )
    jobs = json.loads(jobs_file.read_text())
    specs = [TrialSpec.model_validate_json(json.dumps(job["spec"])) for job in jobs]
    resident = TrialRunner(specs[0].model, threads=1)
    results = [run(resident, spec, job) for spec, job in zip(specs, jobs, strict=True)]
    if rank == 0:
        torch.save(results, jobs_file.with_suffix(".pt"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
