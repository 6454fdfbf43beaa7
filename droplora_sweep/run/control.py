"""Requests to a running sweep's driver: stop, pin, clone or retry one of its trials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.ledger.files import verified_files, verify_adapter
from droplora_sweep.ledger.reader import recorded_sweep
from droplora_sweep.ledger.requests import Answer, Ask, Mailbox
from droplora_sweep.plan.survey import prepare
from droplora_sweep.records.trial import QueuedClone, Stage
from droplora_sweep.spec import AdapterStart, TrialSpec, drawn_values
from droplora_sweep.spec.fields import SEARCHABLE_FIELDS, get_field
from droplora_sweep.spec.loader import load_changed_trial
from droplora_sweep.spec.methods import METHODS, method_of
from droplora_sweep.spec.targets import field_text
from droplora_sweep.tasks.loading import load_task

from .retrying import refusal_to_retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ray.actor import ActorHandle

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.requests import Request
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.search.scheduler import Pins
    from droplora_sweep.search.searcher import StudySearcher
    from droplora_sweep.spec import Scalar, SweepSpec

    from .recorder import Recorder
    from .runs import Identity


SAME_SHAPES = (
    "rank",
    "alpha",
    "target_modules",
    "layers",
    "module_ranks",
    "module_alphas",
    "modules_to_save",
)
"""With another alpha the same numbers would be another update."""


def cloned_spec(
    ledger: Ledger, parent: TrialRecord, settings: Sequence[str], *, from_adapter: bool
) -> TrialSpec:
    """Return a trial's spec with other settings, checked as a file's would be.

    Args:
        ledger: The trial's sweep.
        parent: The trial.
        settings: ``path=value`` strings.
        from_adapter: True where the clone is to start from the trial's adapter.

    Raises:
        InputError: With every fault of the settings.
        SweepError: The sweep cannot be read, or the adapter is damaged.
    """
    before = parent.trial_spec
    file = load_changed_trial(recorded_sweep(ledger.record), before, settings)
    prepared = prepare(file)
    digests = prepared.data_digests()
    recorded = recorded_sweep(ledger.record)
    if before.task != recorded.task:
        # It is trained on less than the sweep: the search's fidelity, or a searched field.
        digests |= load_task(recorded.task).all_digests()
    if digests != ledger.record.data_digests:
        problem = f"must be as when {ledger.record.name} was started, but has changed since"
        raise InputError.of("data", problem)
    clone = prepared.sweep.trial.with_alpha()
    if from_adapter:
        faults = [Fault("", "--from-adapter", problem) for problem in start_problems(before, clone)]
        if parent.adapter is None:
            state = parent.state.lower()
            problem = f"must be of a trial with an adapter, got {parent.trial_id}, {state}"
            faults.append(Fault("", "--from-adapter", problem))
        if faults:
            raise InputError(faults)
        assert parent.adapter is not None
        verify_adapter(parent.adapter, parent.adapter_digest)
    elif clone == before:
        problem = f"must change a field, or the clone would repeat {parent.trial_id}"
        raise InputError.of("--set", problem)
    return clone


def start_problems(parent: TrialSpec, clone: TrialSpec) -> Iterator[str]:
    """Yield each reason why a clone's training cannot start from its parent's adapter.

    ``lora`` and ``droplora`` are one method.
    """
    first, second = parent.adapter, clone.adapter
    if not method_of(first.method).can_continue:
        startable = (name for name, method in METHODS.items() if method.can_continue)
        yield f"must be of a trial with method {', '.join(startable)}, got {first.method}"
        return
    if first.canonical().method != second.canonical().method:
        yield f"must be of a trial with the clone's method {second.method}, got {first.method}"
    for name in SAME_SHAPES:
        mine, other = getattr(second, name), getattr(first, name)
        if mine != other:
            texts = [field_text(f"adapter.{name}", value) for value in (mine, other)]
            yield f"must be of a trial with the clone's {name} {texts[0]}, got {texts[1]}"
    for which, adapter in (("parent", first), ("clone", second)):
        if adapter.is_pruned and adapter.mask == "learned":
            yield f"must be without learned masks, whose gates are no part of it, got a {which}'s"


def shown_params(
    parent: Mapping[str, Scalar], before: TrialSpec, clone: TrialSpec
) -> dict[str, Scalar]:
    """Return the fields that tables show of a clone: its parent's, and all that differ.

    Args:
        parent: The fields shown of the parent, by dotted path.
        before: The parent's spec.
        clone: The clone's spec.
    """
    changed = [
        path for path in SEARCHABLE_FIELDS if get_field(before, path) != get_field(clone, path)
    ]
    paths = dict.fromkeys([*parent, *changed])
    values = {path: get_field(clone, path) for path in paths}
    return {path: value for path, value in values.items() if value is not None}


class Control:
    """Takes requests out of a sweep's mailbox, records them and acts on them.

    It runs on the thread of the search, so that no trial is drawn, started or ended meanwhile. A
    request is in the ledger before it is acted on: a driver that resumes the sweep does the rest.

    Args:
        sweep: The running sweep.
        ledger: Its ledger.
        searcher: Hands out clones.
        pins: Trials that the scheduler must not stop.
        pool: Stops trials.
        identify: Names clones.
        recorder: Records retries, and has the pool take the trials anew.

    Attributes:
        is_confirmed: True once the confirmation has ended: this driver repeats none of its runs.
    """

    def __init__(
        self,
        sweep: SweepSpec,
        ledger: LedgerWriter,
        searcher: StudySearcher,
        pins: Pins,
        pool: ActorHandle[Any],
        identify: Identity,
        recorder: Recorder,
    ) -> None:
        self.is_confirmed = False
        self._recorder = recorder
        self._sweep = sweep
        self._ledger = ledger
        self._searcher = searcher
        self._pins = pins
        self._pool = pool
        self._identify = identify
        self._mailbox = Mailbox(ledger.directory, ledger.holder.token)
        self._resume()

    def __call__(self) -> None:
        """Act on the requests that have come.

        Raises:
            SweepError: The ledger or the mailbox cannot be written.
        """
        for request in self._mailbox.take():
            self._mailbox.answer(request, self._do(request))

    def _resume(self) -> None:
        """Do what earlier drivers were asked for and did not live to do."""
        unfinished = [trial for trial in self._ledger.records() if not trial.is_finished]
        for trial in unfinished:
            if trial.stop_asked_by is not None:
                self._pool.stop.remote(trial.trial_id)
        left: list[TrialRecord | QueuedClone] = [*unfinished, *self._ledger.record.queued_clones]
        for each in left:
            if each.start is not None:
                self._provide(each.trial_id, each.start)

    def _do(self, request: Request) -> Answer:
        trial = self._ledger.trial(request.trial_id)
        if request.ask is Ask.CLONE:
            return self._clone(request, trial)
        if request.ask is Ask.RETRY:
            return self._retry(request, trial)
        refusal = refusal_of(request.ask, trial)
        if refusal is not None:
            return Answer(False, refusal)
        is_pin = request.ask is Ask.PIN
        record = self._ledger.trial_pinned if is_pin else self._ledger.trial_stop_asked
        if not record(trial.trial_id, request.by):
            return Answer(False, f"{trial.trial_id}: has ended just now")
        if is_pin:
            self._pins.add(trial.trial_id)
            return Answer(True, f"{trial.trial_id}: pinned; the scheduler will not stop it")
        self._pool.stop.remote(trial.trial_id)
        return Answer(True, f"{trial.trial_id}: ends at its next step")

    def _clone(self, request: Request, parent: TrialRecord) -> Answer:
        if self._searcher.is_over or self._ledger.record.confirm_trials:
            return Answer(False, f"{parent.trial_id}: cannot be cloned after the search has ended")
        spec = TrialSpec.model_validate_json(json.dumps(request.spec))
        before = parent.trial_spec
        start = None
        if request.from_adapter:
            if parent.adapter_digest is None or list(start_problems(before, spec)):
                return Answer(False, f"{parent.trial_id}: its adapter does not fit the clone")
            start = AdapterStart(parent.trial_id, parent.adapter_digest)
        _, fingerprint = self._identify(0, spec, start)
        if self._searcher.is_known(fingerprint):
            return Answer(False, f"{parent.trial_id}: the sweep has a trial of these settings")
        # From an adapter it is another trial than the draw of the same settings.
        drawn = (None if start is not None else drawn_values(spec, self._sweep)) or {}
        number = self._searcher.reserve(drawn)
        trial_id, fingerprint = self._identify(number, spec, start)
        clone = QueuedClone(
            trial_id=trial_id,
            number=number,
            fingerprint=fingerprint,
            spec=spec.model_dump(mode="json"),
            params=shown_params(parent.params, before, spec),
            drawn=drawn,
            clone_of=parent.trial_id,
            start=start,
            by=request.by,
        )
        self._ledger.trial_cloned(clone)
        if start is not None:
            self._provide(trial_id, start)
        self._searcher.queue(clone)
        how = ", from its adapter" if start is not None else ""
        return Answer(True, f"{trial_id}: queued, a clone of {parent.trial_id}{how}; it runs next")

    def _retry(self, request: Request, trial: TrialRecord) -> Answer:
        name, is_of_search = trial.trial_id, trial.stage is Stage.SEARCH
        if (refusal := refusal_to_retry(trial, self._ledger.record)) is not None:
            return Answer(False, f"{name}: {refusal}")
        if is_of_search and self._searcher.is_over:
            return Answer(False, f"{name}: cannot be retried just now, the search has ended")
        if not is_of_search and self.is_confirmed:
            return Answer(False, f"{name}: cannot be retried just now, all has been decided")
        self._recorder.retried(name, request.by)
        if not is_of_search:
            return Answer(True, f"{name}: is run again after the runs that are under way")
        self._searcher.retry(self._ledger.trial(name))
        return Answer(True, f"{name}: is run again, next")

    def _provide(self, trial_id: str, start: AdapterStart) -> None:
        """Give the pool the files of the adapter that a trial starts from."""
        files = verified_files(self._ledger.trial(start.trial_id))
        self._pool.start_from.remote(trial_id, files)


def refusal_of(ask: Ask, trial: TrialRecord) -> str | None:
    """Return why a trial cannot be stopped or pinned; None where it can."""
    if trial.is_finished:
        return f"{trial.trial_id}: must be running, got {trial.state.lower()}"
    if trial.stage is Stage.CONFIRM:
        return f"{trial.trial_id}: must be of the search; confirmation trials run to their end"
    if trial.stop_asked_by is not None:
        return f"{trial.trial_id}: is being stopped, as {trial.stop_asked_by} asked"
    if ask is Ask.PIN and trial.pinned_by is not None:
        return f"{trial.trial_id}: is pinned already, by {trial.pinned_by}"
    return None
