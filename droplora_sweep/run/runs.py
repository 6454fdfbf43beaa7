"""Identity of trials, and a confirmation's missing runs: taken over, resumed, or new."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import PoolLostError
from droplora_sweep.groups.pool import ask
from droplora_sweep.records.messages import Evaluated, Failed, Submission
from droplora_sweep.records.trial import PlannedTrial, Stage, TrialRecord, TrialState, trial_id
from droplora_sweep.spec import fingerprint
from droplora_sweep.storage.object_store import below

from .forking import confirmed_elsewhere, copy_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ray.actor import ActorHandle

    from droplora_sweep.analysis.evidence import Arm
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.spec import AdapterStart, TrialSpec

    from .confirming import Confirmation
    from .recorder import Recorder

RECEIVE_S = 0.5
"""Longest wait for the score of any run, before the watch looks around."""


@dataclass(frozen=True)
class Identity:
    """Ids and fingerprints of trials.

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
    """Return the missing runs as trials: unfinished ones first, under the ids they have."""
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
    """Copy the missing runs that a fork's origin has trained already; a line for each."""
    done = confirmed_elsewhere(ledger)
    known = {trial.fingerprint for trial in ledger.confirm_records()}
    lines = []
    for arm, seed in confirmation.progress.missing if done else ():
        number = len(ledger.confirm_records())
        planned = _planned(confirmation, arm, seed, number, identify)
        donor = done.get(planned.fingerprint)
        if donor is not None and planned.fingerprint not in known:
            origin, trial = donor
            copy_trial(ledger, trial, origin, planned)
            lines.append(f"{planned.trial_id} is {origin}, taken over")
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
        raced=confirmation.budget.races,
    )


def train_runs(
    runs: Iterable[PlannedTrial],
    pool: ActorHandle[Any],
    recorder: Recorder,
    *,
    trials_folder: str,
    capacity: Callable[[], int],
    may_start: Callable[[], bool],
    should_stop: Callable[[], bool],
) -> None:
    """Train confirmation runs to their ends, until all are recorded or it is told to stop.

    A run that has begun before is trained to its end, whatever is spent.

    Args:
        runs: In the order in which they start.
        pool: Hands them to groups.
        recorder: Records what they give.
        trials_folder: Each run has its folder of its own in it.
        capacity: Runs that can be trained at once; a cluster can grow and shrink.
        may_start: Asked before a new run starts; where it may not, those that run are waited for.
        should_stop: Asked at every turn.
    """
    waiting, training = deque(runs), set[str]()

    def is_next() -> bool:
        return bool(waiting) and (isinstance(waiting[0], TrialRecord) or may_start())

    while (training or is_next()) and not should_stop():
        # That the pool has died is found out, and said, by who watches the sweep.
        with contextlib.suppress(PoolLostError):
            while len(training) < capacity() and is_next():
                run = waiting.popleft()
                ask(pool, "submit", _submission(run, trials_folder))
                recorder.started(run)
                training.add(run.trial_id)
            if received := ask(pool, "receive_any", training, RECEIVE_S):
                name, message = received
                training.remove(name)
                if isinstance(message, Failed):
                    recorder.ended(name, TrialState.FAILED, message.reason)
                    continue
                assert isinstance(message, Evaluated), "a user stops search trials alone"
                if not message.is_repeated:
                    recorder.reported(name, replace(message.evaluation, outcomes={}))
                recorder.ended(name, TrialState.COMPLETE, None)
    recorder.drain(should_stop)


def _submission(run: PlannedTrial, trials_folder: str) -> Submission:
    """Return what hands a run to the groups.

    A run has one evaluation, at its end. An earlier driver may have had it, and lacks what the run
    leaves.
    """
    evaluations = run.evaluations if isinstance(run, TrialRecord) else ()
    return Submission(
        trial_id=run.trial_id,
        spec=run.spec_to_run.model_dump_json(),
        folder=below(trials_folder, run.trial_id),
        last=evaluations[-1] if evaluations else None,
    )
