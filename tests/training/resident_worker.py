"""One of two workers that serve trials together, for test_group.py.

python -m tests.training.resident_worker RANK FOLDER: reads trials.json, a list of trials and after
how many reports each is stopped; writes what this rank saw of each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from droplora_sweep.errors import TrialError
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.trial import TrialSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files

if TYPE_CHECKING:
    from droplora_sweep.training.reporting import Report


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    trials = json.loads((folder / "trials.json").read_text())
    specs = [TrialSpec.model_validate_json(json.dumps(trial["spec"])) for trial in trials]
    resident = TrialRunner(specs[0].model, threads=1)
    seen = []
    for spec, trial in zip(specs, trials, strict=True):
        reports: list[Report | None] = []

        def decide(report: Report | None, reports=reports, limit=trial["stop_after"]) -> Decision:
            reports.append(report)
            decision = [Decision.GO_ON if len(reports) < limit else Decision.END]
            dist.broadcast_object_list(decision, 0)
            return decision[0]

        try:
            files, error = trained_files(resident, spec, decide), None
        except TrialError as caught:
            files, error = {}, str(caught)
        seen.append({"reports": reports, "files": files, "error": error})
    torch.save(seen, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
