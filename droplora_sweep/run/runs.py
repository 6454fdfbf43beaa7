"""Identity of trials, and a confirmation's missing runs: taken over, resumed, or new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.records.trial import PlannedTrial, Stage, trial_id
from droplora_sweep.spec import fingerprint

from .forking import confirmed_elsewhere, copy_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.analysis.evidence import Arm
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.spec import AdapterStart, TrialSpec

    from .confirming import Confirmation


@dataclass(frozen=True)
class Identity:
    """Names trials.

    Attributes:
        data_digests: Digest of each split that is read, by name.
        versions: Version by package.
        num_workers: Workers that share a global batch.
    """

    data_digests: Mapping[str, str]
    versions: Mapping[str, str]
    num_workers: int

    def __call__(
        self,
        number: int,
        spec: TrialSpec,
        start: AdapterStart | None = None,
        stage: Stage = Stage.SEARCH,
    ) -> tuple[str, str]:
        """Trial id and fingerprint of a numbered trial of a stage, begun from an adapter or not."""
        digests, versions, workers = self.data_digests, self.versions, self.num_workers
        digest = fingerprint(spec, digests, versions, num_workers=workers, start=start)
        return trial_id(number, digest, stage), digest


def queue_of(confirmation: Confirmation, ledger: Ledger, identify: Identity) -> list[PlannedTrial]:
    """What is missing, as trials: those that were running first, under the ids they have."""
    trials = ledger.confirm_records()
    running = {(trial.arm, trial.spec["seed"]): trial for trial in trials if not trial.is_finished}
    missing = confirmation.progress.missing
    starts = [running[arm.name, seed] for arm, seed in missing if (arm.name, seed) in running]
    new = [(arm, seed) for arm, seed in missing if (arm.name, seed) not in running]
    return starts + [
        _planned(confirmation, arm, seed, number, identify)
        for number, (arm, seed) in enumerate(new, start=len(trials))
    ]


def take_over_runs(
    confirmation: Confirmation, ledger: LedgerWriter, identify: Identity
) -> list[str]:
    """Copy what the sweep that this one is a fork of has trained already; a line for each."""
    done = confirmed_elsewhere(ledger)
    known = {trial.fingerprint for trial in ledger.confirm_records()}
    lines = []
    for arm, seed in confirmation.progress.missing if done else ():
        number = len(ledger.confirm_records())
        planned = _planned(confirmation, arm, seed, number, identify)
        donor = done.get(planned.fingerprint)
        if donor is not None and planned.fingerprint not in known:
            copy_run(ledger, donor, planned)
            lines.append(f"{planned.trial_id} is {donor[0]}/{donor[1].trial_id}, taken over")
    return lines


def _planned(
    confirmation: Confirmation, arm: Arm, seed: int, number: int, identify: Identity
) -> PlannedTrial:
    spec = confirmation.run_spec(arm.name, seed)
    name, digest = identify(number, spec, stage=Stage.CONFIRM)
    return PlannedTrial.of(
        spec,
        {**confirmation.origins[arm.name].drawn, "seed": seed},
        trial_id=name,
        number=number,
        fingerprint=digest,
        stage=Stage.CONFIRM,
        arm=arm.name,
    )
