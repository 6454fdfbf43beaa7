"""Leases of trials to groups: the state machine behind the pool, without Ray.

A trial is submitted, leased to a group, evaluated, continued or ended, and leaves an outcome.
A group that dies gives its trial back; the next group to ask resumes it from its newest checkpoint,
or repeats it from its seed; evaluations that were already delivered are not delivered again. A
trial that ran out of memory is not given to a group unchanged.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.records.messages import Decision, Evaluated, Failed, Stopped

from .exits import halved
from .messages import Adjustment, Beginning, Delivery, ExitReason, Lease, Released

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.errors import Fault
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.records.messages import Message, Submission
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.spec import ExploitStep
    from droplora_sweep.storage.file_set import FileSet

    from .messages import Merging, Scoring
    from .seen import Seen

MAX_FAILED_STARTS = 3
"""A group that starts this often without reaching its first lease cannot work at all."""


@dataclass(kw_only=True)
class _Trial:
    spec: str
    folder: str | None = None
    work: Scoring | Merging | None = None
    is_canary: bool = False
    attempt: int = 0
    ended: bool = False
    stopped: bool = False
    mail: list[Message] = field(default_factory=list)
    last: Evaluation | None = None
    delivered: int = 0
    passed: set[int] = field(default_factory=set)
    progress: tuple[int, int] | None = None
    results: tuple[ExampleResult, ...] = ()
    outcome: Delivery | Failed | None = None


class LeaseBook:
    """All trials and groups of a sweep; every method is one step and none blocks.

    Args:
        max_attempts: A trial that loses its group this often fails.
        halve_micro_batch: Tries a trial that ran out of memory again with half the micro-batch;
            else it fails.
    """

    def __init__(self, max_attempts: int, *, halve_micro_batch: bool = False) -> None:
        self._max_attempts = max_attempts
        self._halve_micro_batch = halve_micro_batch
        self._trials: dict[str, _Trial] = {}
        self._queue: deque[str] = deque()
        self._idle_queue: deque[str] = deque()
        self._leases: dict[str, str] = {}
        self._failed_starts: dict[str, tuple[int, str]] = {}
        self._exits: dict[str, ExitReason] = {}
        self._adjustments: list[Adjustment] = []
        self._beginnings: list[Beginning] = []
        self._entered: set[str] = set()
        self._released: set[str] = set()
        self._decisive: str | None = None
        self._seen: dict[str, Seen] = {}
        self._stops: set[str] = set()
        self._starts: dict[str, FileSet] = {}
        self._refusal: str | None = None
        self._exploit_steps: dict[str, dict[int, ExploitStep]] = {}
        self.closed = False

    # What clients and the driver ask.

    def submit(self, submission: Submission) -> None:
        """Queue a trial; one that is here already has lost its client, and gets another.

        One that an earlier driver has evaluated trains past all but the last of its evaluations;
        past that one, once the scheduler says so here.
        """
        trial_id, last = submission.trial_id, submission.last
        if trial_id in self._trials:
            return
        trial = _Trial(spec=submission.spec, folder=submission.folder)
        if last is not None:
            trial.last, trial.delivered = last, last.number
            trial.passed = set(range(1, last.number))
            trial.mail.append(Evaluated(last, is_repeated=True))
        self._trials[trial_id] = trial
        self._queue.append(trial_id)
        if submission.is_member:
            self._exploit_steps.setdefault(trial_id, {})
        if trial_id in self._stops:
            self.stop(trial_id)

    def retry(self, trial_id: str) -> None:
        """Forget a trial that has failed, so that it can be submitted as a new one."""
        trial = self._trials.pop(trial_id, None)
        assert trial is None or trial.outcome is not None, f"{trial_id} has not ended"
        self._stops.discard(trial_id)

    def submit_scoring(self, name: str, spec: str, scoring: Scoring) -> None:
        """Have a model scored by a group that no trial waits for.

        Args:
            name: Asks for its outcome; no trial's.
            spec: A trial's spec as JSON: the base model, the task, and how examples are scored.
            scoring: The model and the examples.
        """
        if name not in self._trials:
            self._trials[name] = _Trial(spec=spec, work=scoring)
            self._idle_queue.append(name)

    def submit_alone(self, name: str, spec: str, work: Scoring | Merging) -> None:
        """Have work done by a group that has nothing else to do.

        Where a worker raises an error it fails, as a canary does, and is not done again. The
        arguments are those of `submit_scoring`.
        """
        self._trials[name] = _Trial(spec=spec, work=work)
        self._queue.append(name)
        self._decisive = name

    def submit_canary(self, name: str, spec: str, folder: str) -> None:
        """Have a group try a trial in little before any other; an earlier canary has passed.

        Args:
            name: Asks for its outcome; no trial's.
            spec: The trial's spec as JSON.
            folder: Folder in the sweep's storage, for its checkpoint.
        """
        self._trials[name] = _Trial(spec=spec, folder=folder, is_canary=True)
        self._queue.appendleft(name)
        self._decisive = name

    def start_from(self, trial_id: str, files: FileSet) -> None:
        """Have a trial, once it is submitted, start from this adapter."""
        self._starts[trial_id] = files

    def exploit(self, trial_id: str, exploit: ExploitStep) -> None:
        """Have a member, submitted or not, copy another after an evaluation it has not passed."""
        self._exploit_steps.setdefault(trial_id, {})[exploit.evaluation] = exploit

    def stop(self, trial_id: str) -> None:
        """A user stops the trial: it ends at its next step, or before its first.

        It leaves the results of its last evaluation; an adapter too where it waits at one.
        """
        self._stops.add(trial_id)
        trial = self._trials.get(trial_id)
        if trial is None or trial.ended or trial.outcome is not None:
            return
        trial.stopped = True
        if trial_id in self._queue:
            self._queue.remove(trial_id)
            self._conclude_stopped(trial, None)

    def receive(self, trial_id: str) -> Message | None:
        """Return the trial's first message that the scheduler has not decided on, if there is one.

        Asking does not change the answer: it may have gone to a client that died with it.
        """
        trial = self._trials[trial_id]
        return next((each for each in trial.mail if not _is_decided(each, trial.passed)), None)

    def go_on(self, trial_id: str, evaluation: int) -> None:
        """The scheduler lets the trial train past this evaluation."""
        self._trials[trial_id].passed.add(evaluation)

    def end(self, trial_id: str) -> None:
        """The scheduler wants no more of the trial: it ends at the evaluation it waits at.

        A trial that was resumed from an earlier driver still has to be leased, for what it
        leaves at the evaluation that was decided on.
        """
        trial = self._trials[trial_id]
        trial.ended = True
        if trial_id in self._queue and not trial.delivered:
            self._queue.remove(trial_id)
            self._conclude(trial, Failed("ended before it was started"))

    def outcome(self, trial_id: str) -> Delivery | Failed | None:
        """Return what the trial left, once it has; its files are then forgotten here."""
        trial = self._trials[trial_id]
        outcome = trial.outcome
        if isinstance(outcome, Delivery):
            trial.outcome, trial.spec, trial.work = Delivery(None, ()), "", None
        return outcome

    def progress(self) -> dict[str, tuple[int, int]]:
        """Return the step reached and the steps in all, of each trial in training."""
        leased = {trial_id: self._trials[trial_id].progress for trial_id in self._leases.values()}
        return {trial_id: steps for trial_id, steps in leased.items() if steps is not None}

    def groups(self) -> dict[str, str]:
        """Return the group of each trial that is leased."""
        return {trial_id: group for group, trial_id in self._leases.items()}

    @property
    def num_waiting(self) -> int:
        """Trials, and models to score, that no group has yet."""
        return len(self._queue) + len(self._idle_queue)

    @property
    def num_leased(self) -> int:
        """Groups that have a lease."""
        return len(self._leases)

    def release(self, group: str) -> bool:
        """Have a group end at the lease that it asks for; False where it has work, or some waits.

        It gets no lease until its processes have been started anew.
        """
        if group in self._leases or self.num_waiting:
            return False
        self._released.add(group)
        return True

    def is_released(self, group: str) -> bool:
        """Return True where a group was told to end and has not been started again."""
        return group in self._released

    def check(self) -> None:
        """Raise SweepError where a group cannot even start, or the storage refuses."""
        if self._refusal is not None:
            raise SweepError(self._refusal)
        for group, (starts, reason) in self._failed_starts.items():
            if starts > MAX_FAILED_STARTS:
                raise SweepError(
                    f"group {group} died {MAX_FAILED_STARTS} times before it could train: {reason}"
                )

    def take_adjustments(self) -> list[Adjustment]:
        """Return the adjustments since the last call."""
        taken, self._adjustments = self._adjustments, []
        return taken

    def take_beginnings(self) -> list[Beginning]:
        """Return the beginnings since the last call."""
        taken, self._beginnings = self._beginnings, []
        return taken

    # What groups ask.

    def enter(self, group: str) -> None:
        """A group's processes have started; a lease that its last processes held is lost."""
        self.lose(group)
        self._released.discard(group)
        self._entered.add(group)
        self._count_start(group)

    def lose(self, group: str) -> None:
        """The group's processes are gone: its trial goes back to the front, or fails."""
        trial_id = self._leases.pop(group, None)
        if trial_id is None:
            return
        trial = self._trials[trial_id]
        exit_reason = self._exits.get(group, ExitReason())
        if trial.outcome is not None:
            # A canary fails when its worker says so.
            return
        if trial.stopped:
            self._conclude_stopped(trial, None)
        elif trial.ended:
            self._conclude(trial, Failed("its group died as it ended"))
        elif exit_reason.out_of_memory and (trial.work is not None or trial.is_canary):
            self._fail_of_exit(trial, exit_reason)
        elif exit_reason.out_of_memory:
            self._adjust(trial_id, trial, exit_reason)
        elif trial.attempt >= self._max_attempts:
            times = f"{trial.attempt} time{'s' * (trial.attempt != 1)}"
            reason = f"lost its group {times}; the last time: {exit_reason.reason}"
            self._fail(trial, reason, exit_reason.log)
        else:
            self._queue.appendleft(trial_id)

    def lose_controller(self, group: str) -> None:
        """The group's controller is gone, and its processes with it; both are started again.

        One that died before the processes had entered is a start that came to nothing.
        """
        self.lose(group)
        if group not in self._entered:
            self._count_start(group)
        self._entered.discard(group)

    def lease(self, group: str) -> Lease | Released | None:
        """Return the next trial for this group, if one waits; or that the group is released."""
        assert group not in self._leases, f"group {group} holds {self._leases[group]}"
        self._failed_starts.pop(group, None)
        if group in self._released:
            # Its next processes may die before they have entered, which is a failed start.
            self._entered.discard(group)
            return Released()
        queue = self._queue or self._idle_queue
        if not queue or self._refusal is not None:
            return None
        trial_id = queue.popleft()
        trial = self._trials[trial_id]
        trial.attempt += 1
        trial.progress = None
        self._leases[group] = trial_id
        start, exploit_steps = self._starts.get(trial_id), self._exploit_steps.get(trial_id)
        in_order = (
            None
            if exploit_steps is None
            else tuple(exploit_steps[each] for each in sorted(exploit_steps))
        )
        return Lease(
            trial_id=trial_id,
            spec=trial.spec,
            attempt=trial.attempt,
            folder=trial.folder,
            start=start,
            exploit_steps=in_order,
            work=trial.work,
            is_canary=trial.is_canary,
        )

    def begin(self, group: str, step: int, num_steps: int) -> None:
        """The group's trial trains from this step on."""
        trial_id = self._leases[group]
        self._trials[trial_id].progress = (step, num_steps)
        attempt = self._trials[trial_id].attempt
        self._beginnings.append(
            Beginning(trial_id=trial_id, attempt=attempt, step=step, num_steps=num_steps)
        )

    def step(self, group: str, step: int, num_steps: int) -> Decision | None:
        """Take a trial's progress; return whether it is to end or to be interrupted there."""
        if group in self._leases:
            self._held_by(group).progress = (step, num_steps)
        if self.closed:
            return Decision.INTERRUPT
        is_stopped = group in self._leases and self._held_by(group).stopped
        return Decision.END if is_stopped else None

    def report(
        self, group: str, evaluation: Evaluation, results: tuple[ExampleResult, ...]
    ) -> None:
        """Take one evaluation; it is delivered once, however often the trial is repeated."""
        trial = self._held_by(group)
        trial.results = results
        if evaluation.number > trial.delivered:
            trial.last, trial.delivered = evaluation, evaluation.number
            trial.mail.append(Evaluated(evaluation))

    def scored(
        self, group: str, results: tuple[ExampleResult, ...], metrics: Mapping[str, float]
    ) -> None:
        """Take the results of a model that was scored, which are all that it leaves."""
        self._conclude(self._release(group), Delivery(None, results, metrics))

    def passed(self, group: str) -> None:
        """The canary found nothing wrong, unless another group has meanwhile."""
        canary = self._release(group)
        if canary.outcome is None:
            self._conclude(canary, Delivery(None, ()))

    def compare(self, seen: Sequence[Seen]) -> list[Fault]:
        """Return how what one of these sees differs from what the first to say it has seen."""
        for one in seen:
            first = self._seen.setdefault(one.field, one)
            if faults := list(first.differences(one)):
                return faults
        return []

    def decision(self, group: str, evaluation: int) -> Decision | ExploitStep | None:
        """Return whether to train past this evaluation; None while the scheduler has not decided.

        An exploit step lets a member train past it, with what it copies there.
        """
        trial = self._held_by(group)
        if trial.stopped:
            return Decision.END
        if evaluation in trial.passed:
            return self._exploit_steps.get(self._leases[group], {}).get(evaluation, Decision.GO_ON)
        if trial.ended:
            return Decision.END
        return Decision.INTERRUPT if self.closed else None

    def finish(self, group: str, files: FileSet | None) -> None:
        """The trial is over, at its end or where it was told to stop."""
        trial = self._release(group)
        if trial.stopped:
            self._conclude_stopped(trial, files)
        else:
            self._conclude(trial, Delivery(files, trial.results))

    def give_back(self, group: str) -> None:
        """The group stops, and not because of its trial: the next one to ask resumes it."""
        trial_id = self._leases[group]
        trial = self._release(group)
        if trial.stopped:
            self._conclude_stopped(trial, None)
            return
        trial.attempt -= 1
        self._queue.appendleft(trial_id)

    def refuse(self, group: str, reason: str) -> None:
        """The storage refuses the files of the group's trial: the sweep ends, to be resumed."""
        self.give_back(group)
        self._refusal = self._refusal or reason

    def fail(self, group: str, reason: str) -> None:
        """The trial cannot give a result, in this group or any other."""
        self._fail(self._release(group), reason)

    def crash(self, group: str, exit_reason: ExitReason) -> bool:
        """Take the reason why the group's processes end, from one of them or from an observer.

        Returns:
            True where the canary, or work of a lone group, has failed, so that the group is not to
            start again.
        """
        before = self._exits.get(group)
        self._exits[group] = exit_reason if before is None else before.then(exit_reason)
        if self._decisive is None or not exit_reason.is_raised:
            return False
        decisive, is_here = self._trials[self._decisive], self._leases.get(group) == self._decisive
        # Neither other processes nor other groups would do better.
        if decisive.outcome is None and (is_here or exit_reason.faults):
            if self._decisive in self._queue:
                self._queue.remove(self._decisive)
            self._fail_of_exit(decisive, exit_reason)
        has_failed = isinstance(decisive.outcome, Failed)
        if has_failed:
            self._released.add(group)
        return has_failed

    def _count_start(self, group: str) -> None:
        starts, _ = self._failed_starts.get(group, (0, ""))
        reason = self._exits.pop(group, ExitReason()).reason
        self._failed_starts[group] = (starts + 1, reason)

    def _held_by(self, group: str) -> _Trial:
        return self._trials[self._leases[group]]

    def _release(self, group: str) -> _Trial:
        return self._trials[self._leases.pop(group)]

    def _adjust(self, trial_id: str, trial: _Trial, exit_reason: ExitReason) -> None:
        """Try a trial that ran out of memory with half the micro-batch, or fail it."""
        smaller = halved(trial.spec) if self._halve_micro_batch else None
        if smaller is None:
            self._fail(trial, f"ran out of memory: {exit_reason.reason}", exit_reason.log)
            return
        trial.spec, size = smaller
        # Bounded by the size, which halves.
        trial.attempt -= 1
        self._adjustments.append(
            Adjustment(trial_id, size, f"ran out of memory: {exit_reason.reason}")
        )
        self._queue.appendleft(trial_id)

    def _fail(self, trial: _Trial, reason: str, log: str = "") -> None:
        failed = Failed(reason, log)
        trial.mail.append(failed)
        self._conclude(trial, failed)

    def _fail_of_exit(self, trial: _Trial, exit_reason: ExitReason) -> None:
        reason = exit_reason.reason
        if exit_reason.out_of_memory:
            reason = f"ran out of memory: {reason}"
        failed = Failed(
            reason,
            exit_reason.log,
            faults=exit_reason.faults,
            out_of_memory=exit_reason.out_of_memory,
        )
        trial.mail.append(failed)
        self._conclude(trial, failed)

    def _conclude_stopped(self, trial: _Trial, files: FileSet | None) -> None:
        trial.mail.append(Stopped(trial.last))
        self._conclude(trial, Delivery(files, trial.results))

    @staticmethod
    def _conclude(trial: _Trial, outcome: Delivery | Failed) -> None:
        trial.outcome = outcome
        trial.results = ()


def _is_decided(message: Message, passed: set[int]) -> bool:
    return isinstance(message, Evaluated) and message.evaluation.number in passed
