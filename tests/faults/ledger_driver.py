"""A driver without Ray: it writes a small sweep, and goes on with one, as a real driver does.

Its trials are not trained: each leaves the adapter that it is given. Between two trials it waits
for a line on its standard input if it is told to, so that a test can act there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.log import failpoint
from droplora_sweep.ledger.reader import has_sweep
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.publisher import MlflowPublisher
from droplora_sweep.records.trial import (
    Evaluation,
    PlannedTrial,
    SweepOutcome,
    TrialState,
    trial_id,
)
from droplora_sweep.spec import fingerprint, load_sweep_file

if TYPE_CHECKING:
    from droplora_sweep.spec import SweepSpec

NUM_EVALUATIONS = 2
RATES = (0.0, 0.2, 0.4, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("storage", type=Path)
    parser.add_argument("name")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--waits", action="store_true")
    parser.add_argument("--publishes", action="store_true")
    arguments = parser.parse_args()
    settings = [f"name={arguments.name}", f"storage={arguments.storage}"]
    sweep = load_sweep_file("search_spaces/quickstart.yaml", settings).sweep
    begin = LedgerWriter.resume if has_sweep(arguments.storage, sweep.name) else LedgerWriter.create
    try:
        ledger = begin(arguments.storage, sweep)
        publisher = MlflowPublisher(ledger) if arguments.publishes else None
        for number, rate in enumerate(RATES):
            print(f"before trial {number}", flush=True)  # noqa: T201
            if arguments.waits:
                sys.stdin.readline()
            _run(ledger, sweep, number, rate, arguments.adapter)
        last = ledger.records()[-1]
        if not last.is_tested:
            ledger.trial_tested(last.trial_id, [])
        ledger.sweep_finished(SweepOutcome.COMPLETE)
    except SweepError as error:
        sys.exit(str(error))
    if publisher is not None:
        report = publisher.close(timeout_s=120)
        assert report.is_complete, report
    ledger.close()


def _run(ledger: LedgerWriter, sweep: SweepSpec, number: int, rate: float, adapter: Path) -> None:
    """One trial, or what is left of it."""
    update = {"adapter": sweep.adapter.model_copy(update={"pruning_rate": rate})}
    spec = sweep.trial.model_copy(update=update)
    digest = fingerprint(spec, {}, {}, num_workers=1)
    name = trial_id(number, digest)
    known = {trial.trial_id: trial for trial in ledger.records()}
    if name in known and known[name].is_finished:
        return
    ledger.trial_started(
        PlannedTrial.of(
            spec,
            {"adapter.pruning_rate": rate},
            trial_id=name,
            number=number,
            fingerprint=digest,
        )
    )
    reported = len(known[name].evaluations) if name in known else 0
    for evaluation in range(reported + 1, NUM_EVALUATIONS + 1):
        metrics = {"val/choice": 0.1 * evaluation, "val/mean": 0.1 * evaluation}
        ledger.trial_reported(
            name,
            Evaluation(
                number=evaluation,
                num_evaluations=NUM_EVALUATIONS,
                step=10 * evaluation,
                metrics=metrics,
            ),
        )
    failpoint("trial-ended")
    files = {path.name: path.read_bytes() for path in adapter.iterdir()}
    ledger.trial_finished(name, TrialState.COMPLETE, adapter_files=files, results=[])


if __name__ == "__main__":
    main()
