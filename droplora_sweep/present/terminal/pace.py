"""Time a sweep still takes at its pace so far, and how well it was estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.ledger.progress import TimeLeft
from droplora_sweep.plan.costs.pace import Timed, look_back
from droplora_sweep.present.values import format_seconds, plural
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import EVALUATION_SECONDS, TRAIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.ledger.progress import LiveProgress
    from droplora_sweep.records.trial import SweepRecord, TrialRecord


def hindsight_lines(record: SweepRecord) -> list[str]:
    """Return how well the first trial foretold the others, where there is something to tell."""
    found = look_back(timed_trials(record))
    if found is None:
        return []
    low, middle, high = found.ratios
    real, estimated = format_seconds(found.real_s), format_seconds(found.estimated_s)
    return [
        f"time: {plural(found.num_trials, 'trial')} took {real} of "
        f"training and evaluation; at the pace of the first it would be {estimated} "
        f"(estimated / real per trial: median {middle:.2f}, {low:.2f} to {high:.2f})"
    ]


def timed_trials(record: SweepRecord) -> list[Timed]:
    """The trials that ran here in one go, each with what its reports say of its parts.

    Those of another model than the first one's, as a confirmation may have, have another pace.
    """
    here = [trial for trial in record.trials if _ran_in_one_go(trial)]
    model = here[0].spec.get("model") if here else None
    found = [_timed(trial) for trial in here if trial.spec.get("model") == model]
    return [trial for trial in found if trial is not None]


def _ran_in_one_go(trial: TrialRecord) -> bool:
    """One that was resumed, or copied from another sweep, has the wrong wall time."""
    ended = trial.state in (TrialState.COMPLETE, TrialState.STOPPED)
    return ended and trial.attempts == 1 and trial.origin is None


def _timed(trial: TrialRecord) -> Timed | None:
    parts = [
        (report.metrics.get(TRAIN_SECONDS), report.metrics.get(EVALUATION_SECONDS))
        for report in trial.evaluations
    ]
    if trial.finished is None or not parts or any(None in part for part in parts):
        return None
    return Timed(
        started_s=trial.started.timestamp(),
        wall_s=(trial.finished - trial.started).total_seconds(),
        train_s=sum(train_s or 0.0 for train_s, _ in parts),
        evaluation_s=sum(evaluation_s or 0.0 for _, evaluation_s in parts),
        num_steps=trial.evaluations[-1].step,
        num_evaluations=len(parts),
    )


OLD_S = 60.0
"""A driver writes its progress every few seconds, but in the middle of something long."""
MIN_WORK = 0.02
"""Of a trial: less says nothing of the pace."""


@dataclass(frozen=True)
class Run:
    """One trial of the stage that runs now, as this driver has seen it.

    Attributes:
        seconds: For which it has run.
        share_before: Of its steps, those that an earlier group or driver did.
        share: Of its steps, those that are done; 1 once it has ended.
        is_whole: True of one that has ended at its full length.
    """

    seconds: float
    share_before: float
    share: float
    is_whole: bool = False


def time_left(
    runs: Sequence[Run],
    *,
    elapsed_s: float,
    num_trials: int | None,
    num_done_before: int,
    num_confirmed: tuple[int, int] | None,
    confirm_work: float = 1.0,
) -> TimeLeft:
    """Return the time left, from the trials of this stage.

    Trials that were ended early make the stage's pace, whole ones alone that of the confirmation,
    whose runs are all whole. Both train side by side as they did so far.

    Args:
        runs: Those that this driver has started.
        elapsed_s: Since it started the first.
        num_trials: Of the stage; None where that is not known.
        num_done_before: Of them, those that were done when this driver began.
        num_confirmed: Fewest and most runs of a confirmation that follows; None where none does.
        confirm_work: Time of such a run, in that of a whole trial of this stage.

    >>> runs = [Run(60, 0, 1, is_whole=True), Run(30, 0, 0.5)]
    >>> time_left(runs, elapsed_s=90, num_trials=4, num_done_before=0, num_confirmed=(6, 9))
    TimeLeft(stage_s=150.0, confirmation_s=(360.0, 540.0))
    """
    work = sum(run.share - run.share_before for run in runs)
    stage_s = None
    if num_trials is not None and work >= MIN_WORK:
        num_not_started = max(0, num_trials - num_done_before - len(runs))
        left = num_not_started + sum(1 - run.share for run in runs)
        stage_s = elapsed_s / work * left
    whole_s = _whole_run_s(runs)
    confirmation_s = None
    if num_confirmed is not None and whole_s is not None and elapsed_s > 0:
        side_by_side = max(1.0, sum(run.seconds for run in runs) / elapsed_s)
        fewest, most = (number * whole_s * confirm_work / side_by_side for number in num_confirmed)
        confirmation_s = (fewest, most)
    return TimeLeft(stage_s, confirmation_s)


def _whole_run_s(runs: Sequence[Run]) -> float | None:
    """Seconds of a whole run: of those there were, else as the running ones promise."""
    whole = [run.seconds for run in runs if run.is_whole and not run.share_before]
    if not whole:
        done = [(run.seconds, run.share - run.share_before) for run in runs]
        whole = [seconds / share for seconds, share in done if share >= MIN_WORK]
    return sum(whole) / len(whole) if whole else None


def left_text(left: TimeLeft) -> str:
    """``about 3 min left, then 6 min to 9 min of confirmation``.

    >>> left_text(TimeLeft(30.0)), left_text(TimeLeft(None))
    ('about 30.0 s left', 'time left not known yet')
    """
    if left.stage_s is None:
        return "time left not known yet"
    text = f"about {format_seconds(left.stage_s)} left"
    if left.confirmation_s is None:
        return text
    fewest, most = map(format_seconds, left.confirmation_s)
    return f"{text}, then {fewest if fewest == most else f'{fewest} to {most}'} of confirmation"


def running_text(live: LiveProgress | None) -> str:
    """Return the time that a running sweep still takes, as `status` shows it.

    Args:
        live: Its driver's last message; None where there is none yet, or only on its own
            machine, as it does where the storage is a URL.
    """
    if live is None:
        return "steps and time left are not known here (they are on the driver's machine)"
    age_s = live.age_s()
    age = "" if age_s < OLD_S else f", as of {format_seconds(age_s)} ago"
    released = ""
    if number := live.num_released:
        released = f", {number} group{'s' * (number != 1)} released until there is work"
    return f"{left_text(live.left)}{released}{age}"
