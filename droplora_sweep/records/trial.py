"""A sweep and its trials, as the ledger knows them; importable without optuna, mlflow or torch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec import TrialSpec
from droplora_sweep.spec.fidelity import fidelity_text
from droplora_sweep.spec.fields import get_field, with_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from droplora_sweep.spec import AdapterStart, ExploitStep, Scalar


TRIAL_ID = re.compile(r"[tc]\d{4,}-[0-9a-f]{8}")


class Stage(StrEnum):
    """Stage of a sweep that a trial is run in."""

    SEARCH = "search"
    """To find good settings; one seed, scored on the validation split."""
    CONFIRM = "confirm"
    """To decide between a few settings; the same seeds and examples in every arm."""


INITIALS = {Stage.SEARCH: "t", Stage.CONFIRM: "c"}


def trial_id(number: int, fingerprint: str, stage: Stage = Stage.SEARCH) -> str:
    """Name of a trial's folder and run: its number and the first 8 hex digits of its fingerprint.

    >>> trial_id(7, "3f2a91bc77d0"), trial_id(7, "3f2a91bc77d0", Stage.CONFIRM)
    ('t0007-3f2a91bc', 'c0007-3f2a91bc')
    """
    name = f"{INITIALS[stage]}{number:04d}-{fingerprint[:8]}"
    assert TRIAL_ID.fullmatch(name), f"not a number and a hex fingerprint: {number}, {fingerprint}"
    return name


class TrialState(StrEnum):
    """State of a trial."""

    RUNNING = "RUNNING"
    """Started and not finished; after a crash: to be resumed."""
    COMPLETE = "COMPLETE"
    """Trained to its full length and scored."""
    STOPPED = "STOPPED"
    """Ended early by the scheduler; Optuna calls it PRUNED, MLflow KILLED."""
    FAILED = "FAILED"
    """Gave no result; the reason is kept."""


class SweepOutcome(StrEnum):
    """Outcome of a sweep."""

    COMPLETE = "COMPLETE"
    """Every planned trial ended; some may have failed."""
    INTERRUPTED = "INTERRUPTED"
    """Stopped from outside; trials that ran are still RUNNING in the ledger."""
    FAILED = "FAILED"
    """Could not continue."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Evaluation of a trial while it trains.

    Attributes:
        number: Its number, from 1.
        num_evaluations: Evaluations of a trial that runs to its end.
        step: Optimiser steps done.
        metrics: Values by the names of ``spec.metric_names``; may hold NaN.
        outcomes: Each example's score by benchmark, in the order of the example ids; in a ledger,
            empty unless the sweep's stopping rule decides by them.
    """

    number: int
    num_evaluations: int
    step: int
    metrics: Mapping[str, float]
    outcomes: Mapping[str, Sequence[float | None]] = field(default_factory=dict, repr=False)

    @property
    def is_last(self) -> bool:
        """True at the end of training."""
        return self.number == self.num_evaluations


@dataclass(frozen=True, kw_only=True)
class RecordedEvaluation(Evaluation):
    """An evaluation in a ledger.

    Attributes:
        time: Time of recording, UTC.
    """

    time: datetime


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A trial to run.

    Attributes:
        trial_id: ``t0007-3f2a91bc``, or ``c0007-3f2a91bc`` in the confirmation stage.
        number: Optuna's trial number; of a confirmation trial, its place among those.
        fingerprint: Hex digest of everything that changes the trial's result.
        spec: The ``TrialSpec``, as JSON values.
        params: Values of its searched fields by dotted path; of a clone, also of those that its
            user set.
        drawn: Its searched values as they were drawn: alpha as its ratio where it is searched so.
            Empty for a clone that could not have been drawn.
        adjusted: Fields that it trains with otherwise than ``spec`` and ``fingerprint`` say, by
            dotted path: a smaller micro-batch after it ran out of memory.
        stage: Its stage; search-stage statistics are made from search trials alone.
        arm: The setting that a confirmation trial repeats with another seed: the id of the search
            trial that had it, with ``@p=0`` after it where it is repeated without pruning.
        clone_of: The trial that a user had this one made from, with other settings; None where
            the search drew it.
        start: The adapter that its training starts from; None for a fresh one.
        raced: True for a run of a confirmation that drops single arms between its looks; the first
            run fixes that for all.
    """

    trial_id: str
    number: int
    fingerprint: str
    spec: Mapping[str, Any]
    params: Mapping[str, Scalar]
    drawn: Mapping[str, Scalar]
    adjusted: Mapping[str, Scalar] = field(default_factory=dict)
    stage: Stage = Stage.SEARCH
    arm: str | None = None
    clone_of: str | None = None
    start: AdapterStart | None = None
    raced: bool = False

    @staticmethod
    def of(
        spec: TrialSpec,
        drawn: Mapping[str, Scalar],
        *,
        trial_id: str,
        number: int,
        fingerprint: str,
        stage: Stage = Stage.SEARCH,
        arm: str | None = None,
        raced: bool = False,
    ) -> PlannedTrial:
        """Plan a trial of these settings, drawn so."""
        values = {path: get_field(spec, path) for path in drawn}
        return PlannedTrial(
            trial_id=trial_id,
            number=number,
            fingerprint=fingerprint,
            spec=spec.model_dump(mode="json"),
            params={path: value for path, value in values.items() if value is not None},
            drawn=drawn,
            stage=stage,
            arm=arm,
            raced=raced,
        )

    @cached_property
    def trial_spec(self) -> TrialSpec:
        """The spec that ``spec`` is the JSON values of."""
        return TrialSpec.model_validate_json(json.dumps(self.spec))

    @property
    def spec_to_run(self) -> TrialSpec:
        """The spec with what was adjusted."""
        return with_fields(self.trial_spec, self.adjusted)


@dataclass(frozen=True, kw_only=True)
class QueuedClone(PlannedTrial):
    """A trial that a user made, until a group starts it.

    Attributes:
        by: The user, as ``user@host``.
    """

    by: str


@dataclass(frozen=True, kw_only=True)
class FailedAttempt:
    """Failure of a trial that a user had run again.

    Attributes:
        started: Start of the attempt, UTC.
        finished: Its end, UTC.
        reason: Reason why it failed.
        step: Optimiser steps done at its last evaluation; 0 before the first.
        attempts: Number of the trial's starts until then.
        by: User who had the trial retried, ``user@host``.
    """

    started: datetime
    finished: datetime
    reason: str | None
    step: int
    attempts: int
    by: str


@dataclass(frozen=True, kw_only=True)
class TrialRecord(PlannedTrial):
    """Trial as the ledger knows it, from its first start on.

    Attributes:
        state: Its state.
        reason: Reason why it was stopped or failed.
        evaluations: Its evaluations in order, each number once.
        metrics: The last evaluation's metrics, updated by those given at the end.
        started: First start, UTC; of a trial that is retried, that of the present attempt, or the
            time of the request until a group starts it.
        finished: End, UTC; None while it runs.
        attempts: Number of starts: above 1 if it was resumed or retried.
        starts: Time of each start, UTC.
        adapter: Folder of the published adapter, None without one.
        adapter_digest: sha256 of the adapter's MANIFEST.json.
        results: Parquet file of the last evaluation's per-example results, None without one.
        origin: Trial of another sweep whose results this one has: ``first/t0007-3f2a91bc``; None
            for a trial that was trained here.
        test_scores: Score on the test split by benchmark; of winners, after all is decided. No
            function that selects is given a record's test scores.
        test_results: Parquet file of the test split's per-example results, None without one.
        exploit_steps: Of a member of a population, what it did after each evaluation that was
            decided on.
        stop_asked_by: User who had it stopped, ``user@host``.
        pinned_by: User who had it pinned: the scheduler never stops it.
        failures: Its failures that a user had it retried after, in order.
    """

    state: TrialState
    started: datetime
    reason: str | None = None
    evaluations: tuple[RecordedEvaluation, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    finished: datetime | None = None
    attempts: int = 1
    starts: tuple[datetime, ...] = ()
    adapter: Path | None = None
    adapter_digest: str | None = None
    results: Path | None = None
    origin: str | None = None
    test_scores: Mapping[str, float] = field(default_factory=dict)
    test_results: Path | None = None
    exploit_steps: tuple[ExploitStep, ...] = ()
    stop_asked_by: str | None = None
    pinned_by: str | None = None
    failures: tuple[FailedAttempt, ...] = ()

    @property
    def is_finished(self) -> bool:
        return self.state is not TrialState.RUNNING

    @property
    def spans(self) -> tuple[tuple[datetime, datetime | None], ...]:
        """Start and end of the attempts that failed, and of the present one if it has begun."""
        present = [] if self.is_to_be_retried else [(self.started, self.finished)]
        return (*((failure.started, failure.finished) for failure in self.failures), *present)

    @property
    def is_to_be_retried(self) -> bool:
        """True from a user's request until a group starts the trial again."""
        return bool(self.failures) and self.attempts == self.failures[-1].attempts

    @property
    def is_comparable(self) -> bool:
        """True where search-stage statistics may compare its score with the drawn trials' scores.

        A clone that started from an adapter was trained for longer than they were, and one outside
        of the search space with settings that none of them could have. A member of a population
        that has copied another's weights has the score of a schedule, and of two trials' training.
        """
        if self.schedule:
            return False
        return self.clone_of is None or (self.start is None and bool(self.drawn))

    @property
    def schedule(self) -> tuple[ExploitStep, ...]:
        """The exploit steps at which it copied a member; before them it had its own values."""
        return tuple(
            exploit_step for exploit_step in self.exploit_steps if exploit_step.source is not None
        )

    @property
    def is_tested(self) -> bool:
        """True where it was scored on the test split, which happens once."""
        return self.test_results is not None


@dataclass(frozen=True, kw_only=True)
class PastTrial:
    """A finished trial of another sweep, which a fork or a warm start begins with.

    Attributes:
        number: Its number in the new study.
        origin: The sweep and the trial: ``first/t0007-3f2a91bc``.
        drawn: Searched values as drawn.
        state: COMPLETE or STOPPED.
        scores: What the new sweep's search maximises at each evaluation, by its number; finite.
        taken_over: Its id in the fork, which has its results as its own: it is the same trial
            there. None for one that only informs.
        is_prior: True where it came by ``search.warm_start``: it informs the sampler, and no rung.
    """

    number: int
    origin: str
    drawn: Mapping[str, Scalar]
    state: TrialState
    scores: Mapping[int, float]
    taken_over: str | None = None
    is_prior: bool = False


@dataclass(frozen=True)
class StartingPoint:
    """A setting that was among the best of another task or model, to be run early.

    Attributes:
        origin: The sweep and the trial it is from.
        values: Searched values as they would be drawn.
    """

    origin: str
    values: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class EarlierTrial:
    """A complete trial of another sweep, from its ledger or from MLflow.

    Attributes:
        origin: The sweep and the trial: ``first/t0007-3f2a91bc``.
        spec: The ``TrialSpec``, as JSON values.
        metrics: Its last ones.
        digests: Of the data, by ``<benchmark>/<split>``; MLflow has their beginnings.
    """

    origin: str
    spec: Mapping[str, Any]
    metrics: Mapping[str, float]
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Session:
    """Work of one driver on a sweep.

    Attributes:
        start: Time when the driver started, UTC.
        last: Its last event, UTC.
        gpus_per_trial: GPUs of a group; its workers where it trains on CPU.
    """

    start: datetime
    last: datetime
    gpus_per_trial: float


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Scores on one split that need no training: what a trained model has to beat.

    Attributes:
        split: ``validation``, ``confirmation`` or ``test``.
        time: Time of recording, UTC.
        untrained: The base model's score as it is, by benchmark, read as the trials are.
        most_frequent: The answer that most of the split's examples have, and their share, by
            benchmark; of benchmarks with few possible answers alone.
        chance: Score of a blind guess among an example's options, by benchmark; of multiple choice
            alone.
        results: Parquet file of the untrained model's per-example results.
    """

    split: str
    time: datetime
    untrained: Mapping[str, float]
    most_frequent: Mapping[str, tuple[str, float]]
    chance: Mapping[str, float]
    results: Path


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """Sweep as the ledger knows it.

    Attributes:
        sweep_id: Random id; tells sweeps of one name apart on a shared MLflow server.
        name: The spec's name.
        spec: The ``SweepSpec`` as of the last start, as JSON values.
        data_digests: Digest of each split, by ``<benchmark>/<split>``.
        versions: Version of each package that takes part in a result.
        started: Start, UTC.
        finished: End, UTC; None while it runs or after a crash.
        outcome: Its outcome; None while it runs or after a crash.
        reason: Reason why it was interrupted or failed.
        trials: In the order of their first start.
        num_starts: Number of drivers that worked on it: above 1 if it was resumed.
        past: Trials that the sampler knows from other sweeps; empty unless the sweep is a fork or
            has a warm start.
        points: Settings of other tasks or models that are run early.
        clones: Every trial that was made by hand, also those that have started since.
        sessions: Each driver's work, in order.
        references: Scores that need no training, by split; a ledger of an older version has none.
    """

    sweep_id: str
    name: str
    spec: Mapping[str, Any]
    data_digests: Mapping[str, str]
    versions: Mapping[str, str]
    started: datetime
    finished: datetime | None = None
    outcome: SweepOutcome | None = None
    reason: str | None = None
    trials: tuple[TrialRecord, ...] = ()
    num_starts: int = 1
    past: tuple[PastTrial, ...] = ()
    points: tuple[StartingPoint, ...] = ()
    sessions: tuple[Session, ...] = ()
    clones: tuple[QueuedClone, ...] = ()
    references: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment; the sweeps of earlier versions each have their own."""
        task, tracking = self.spec["task"]["name"], self.spec["tracking"]
        if "experiment" not in tracking:
            return f"{self.name}/{task}"
        return tracking["experiment"] or f"droplora/{task}"

    @property
    def confirmed_on(self) -> str:
        """The split that confirmation runs are scored on."""
        confirm = self.spec.get("confirm") or {}
        return "confirmation" if confirm.get("examples", "new") == "new" else "validation"

    @property
    def queued_clones(self) -> tuple[QueuedClone, ...]:
        """The clones that no group has started yet."""
        started = {trial.trial_id for trial in self.trials}
        return tuple(clone for clone in self.clones if clone.trial_id not in started)

    def fidelity_of(self, trial: TrialRecord) -> str | None:
        """Return what a trial was trained on, in words; None where it was everything."""
        return fidelity_text(self.spec) if trial.stage is Stage.SEARCH else None

    @property
    def search_trials(self) -> tuple[TrialRecord, ...]:
        """The trials of the search stage."""
        return tuple(trial for trial in self.trials if trial.stage is Stage.SEARCH)

    @property
    def comparable_trials(self) -> tuple[TrialRecord, ...]:
        """Those of the search stage whose scores may be compared."""
        return tuple(trial for trial in self.search_trials if trial.is_comparable)

    @property
    def confirm_trials(self) -> tuple[TrialRecord, ...]:
        """The trials of the confirmation stage."""
        return tuple(trial for trial in self.trials if trial.stage is Stage.CONFIRM)
