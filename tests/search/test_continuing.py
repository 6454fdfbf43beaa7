"""A search that goes on: the study as the ledger has it, open trials first, rungs that remember."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from droplora_sweep.records.messages import SUBMISSION, Submission, submission_of
from droplora_sweep.records.trial import RecordedEvaluation, TrialRecord
from droplora_sweep.records.trial import TrialState as State
from droplora_sweep.search.history import SearchHistory, TrialHistory
from droplora_sweep.search.scheduler import BASELINE, NUMBER, make_scheduler
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import Unreported, reconciled_study, unreported_endings
from droplora_sweep.spec import SweepSpec, resolve
from tests.recording import result

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.spec import TrialSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RATE = "adapter.pruning_rate"
RATES = {RATE: {"values": [0.0, 0.2, 0.4]}}
SPACE = {RATE: {"min": 0.0, "max": 0.5}}


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    return f"t{number}", f"p{spec.adapter.pruning_rate:g}"


def make_sweep(**search: Any) -> SweepSpec:
    fields = {"num_trials": 6, "parameters": SPACE, "queue_baselines": False, **search}
    return SweepSpec.model_validate({"name": "s", "search": fields})


SWEEP = make_sweep()


def known(number: int, state: str, *scores: float, rate: float = 0.25) -> TrialHistory:
    return TrialHistory(
        number=number,
        name=f"t{number}",
        drawn={RATE: rate},
        state=State(state),
        scores=dict(enumerate(scores, start=1)),
    )


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


def draw(study: optuna.Study, *scores: float) -> float:
    """A trial that reports these scores and stays running; what was drawn."""
    trial = study.ask()
    rate = trial.suggest_float(RATE, 0.0, 0.5)
    for evaluation, score in enumerate(scores, start=1):
        trial.report(score, evaluation)
    return rate


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_study_that_agrees_is_left_as_it_is(study: optuna.Study) -> None:
    rate = draw(study, 0.5)
    study.tell(0, 0.5)
    open_rate = draw(study, 0.1)
    trials = {0: known(0, "COMPLETE", 0.5, rate=rate), 1: known(1, "RUNNING", 0.1, rate=open_rate)}
    assert unreported_endings(trials, study.trials) == []
    assert reconciled_study(study, trials, SWEEP) is study
    assert states(study) == ["COMPLETE", "RUNNING"]


def test_what_is_finished_in_the_ledger_is_told_and_what_it_does_not_know_has_failed(
    study: optuna.Study,
) -> None:
    rates = [draw(study, 0.5), draw(study, 0.2), draw(study), draw(study)]
    trials = {
        0: known(0, "COMPLETE", 0.5, rate=rates[0]),
        1: known(1, "STOPPED", 0.2, rate=rates[1]),
        2: known(2, "FAILED", rate=rates[2]),
    }
    assert unreported_endings(trials, study.trials) == [
        Unreported(0, TrialState.COMPLETE, 0.5),
        Unreported(1, TrialState.PRUNED),
        Unreported(2, TrialState.FAIL),
        Unreported(3, TrialState.FAIL),
    ]
    reconciled = reconciled_study(study, trials, SWEEP)
    assert states(reconciled) == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert reconciled.best_value == 0.5


def test_a_repeated_draw_that_only_the_study_knows_stays(study: optuna.Study) -> None:
    draw(study)
    study.tell(0, 0.5)
    assert unreported_endings({}, study.trials) == []


@pytest.mark.parametrize(
    "contradiction", ["missing", "behind", "ahead", "other end", "other trial"]
)
def test_a_study_that_contradicts_the_ledger_is_made_anew(
    study: optuna.Study, contradiction: str
) -> None:
    """A lost or older study.db, one told of an end that the ledger never had, another's study."""
    trials = {
        1: known(1, "COMPLETE", 0.2, 0.5, rate=0.3),
        2: known(2, "RUNNING", 0.1, rate=0.1),
        3: known(3, "STOPPED", 0.4, rate=0.2),
    }
    if contradiction != "missing":
        draw(study)
        study.tell(0, state=TrialState.FAIL)
        for number in (1, 2, 3)[: 2 if contradiction == "behind" else 3]:
            rate = 0.5 if contradiction == "other trial" else trials[number].drawn[RATE]
            study.enqueue_trial({RATE: rate})
            draw(study)
        if contradiction == "ahead":
            study.tell(2, 0.1)
        if contradiction == "other end":
            study.tell(1, state=TrialState.FAIL)
    anew = reconciled_study(study, trials, SWEEP)
    assert anew.study_name == study.study_name
    assert states(anew) == ["FAIL", "COMPLETE", "RUNNING", "PRUNED"]
    assert [trial.params.get(RATE) for trial in anew.trials] == [None, 0.3, 0.1, 0.2]
    assert anew.trials[1].value == 0.5
    assert anew.trials[2].intermediate_values == {1: 0.1}
    assert unreported_endings(trials, anew.trials) == [], "and agrees from then on"
    assert anew.direction is optuna.study.StudyDirection.MAXIMIZE


def unfinished_trial(trial: TrialHistory, spec: TrialSpec) -> TrialRecord:
    """The record of a trial that an earlier driver left running."""
    evaluations = tuple(
        RecordedEvaluation(
            number=number, num_evaluations=3, step=10, metrics={"val/mean": score}, time=NOW
        )
        for number, score in trial.scores.items()
    )
    return TrialRecord(
        trial_id=trial.name,
        number=trial.number,
        fingerprint=identify(0, spec)[1],
        spec=spec.model_dump(mode="json"),
        params=trial.drawn,
        drawn=trial.drawn,
        state=State.RUNNING,
        started=NOW,
        evaluations=evaluations,
    )


@pytest.fixture
def go_on(study: optuna.Study) -> Callable[..., StudySearcher]:
    """A searcher over what is known, with open trials, as a second driver makes it."""

    def make(sweep: SweepSpec, *trials: TrialHistory, room: int = 1) -> StudySearcher:
        numbered = {trial.number: trial for trial in trials}
        specs = {trial.number: resolve(dict(trial.drawn), sweep) for trial in trials}
        unfinished = tuple(
            unfinished_trial(trial, specs[trial.number])
            for trial in trials
            if trial.state is State.RUNNING
        )
        ended = {
            identify(0, specs[trial.number])[1]: trial.score
            for trial in trials
            if trial.state is not State.RUNNING
        }
        everything = SearchHistory(
            trials=numbered, unfinished=unfinished, ended=ended, specs=tuple(specs.values())
        )
        reconciled = reconciled_study(study, numbered, sweep)
        return StudySearcher(
            sweep=sweep,
            study=reconciled,
            identify=identify,
            room=lambda: room,
            trials_folder="trials",
            known=everything,
        )

    return make


def test_open_trials_go_on_first_under_their_ids_and_the_number_of_trials_is_the_total(
    go_on: Any,
) -> None:
    trials = (known(0, "COMPLETE", 0.5, rate=0.1), known(1, "RUNNING", 0.2, rate=0.3))
    searcher = go_on(make_sweep(num_trials=3), *trials, known(2, "RUNNING", rate=0.4), room=9)
    first, second = (submission_of(searcher.suggest(name)) for name in ("a", "b"))
    assert (first.trial_id, second.trial_id) == ("t1", "t2")
    assert (first.folder, second.folder) == ("trials/t1", "trials/t2")
    assert first.last is not None
    assert (first.last.number, first.last.metrics) == (1, {"val/mean": 0.2})
    assert second.last is None
    # While they run, a user may clone one.
    assert searcher.suggest("c") is None
    for name in ("a", "b"):
        searcher.on_trial_complete(name, result(0.3))
    assert searcher.suggest("c") == Searcher.FINISHED


def test_an_open_trial_ends_under_its_number(go_on: Any, study: optuna.Study) -> None:
    searcher = go_on(SWEEP, known(0, "FAILED", rate=0.1), known(1, "RUNNING", 0.2, rate=0.3))
    searcher.suggest("a")
    searcher.on_trial_result("a", result(0.2, 1, is_repeated=True))
    searcher.on_trial_result("a", result(0.4, 2))
    searcher.on_trial_complete("a", result(0.6))
    [trial] = [trial for trial in searcher._study.trials if trial.number == 1]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.6)
    assert trial.intermediate_values == {1: 0.2, 2: 0.4}


def test_finished_trials_are_not_drawn_again(go_on: Any) -> None:
    sweep = make_sweep(parameters=RATES)
    searcher = go_on(sweep, known(0, "COMPLETE", 0.5, rate=0.0), known(1, "FAILED", rate=0.2))
    assert submission_of(searcher.suggest("a")).trial_id != "t0"
    assert searcher.planned("a").drawn == {RATE: 0.4}
    searcher.on_trial_complete("a", result(0.1))
    assert searcher.suggest("b") == Searcher.FINISHED


def test_a_search_that_goes_on_does_not_draw_what_the_first_one_drew(go_on: Any) -> None:
    new = StudySearcher(
        sweep=SWEEP,
        study=optuna.create_study(direction="maximize"),
        identify=identify,
        room=lambda: 1,
        trials_folder="trials",
    )
    new.suggest("a")
    drawn = new.planned("a").drawn[RATE]
    searcher = go_on(SWEEP, known(0, "COMPLETE", 0.5, rate=drawn))
    searcher.suggest("b")
    assert searcher.planned("b").drawn[RATE] != drawn


def test_baselines_are_queued_once(go_on: Any) -> None:
    sweep = make_sweep(parameters=RATES, queue_baselines=True)
    searcher = go_on(sweep, known(0, "RUNNING", rate=0.4), room=9)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert submission_of(first).trial_id == "t0"
    assert searcher.planned("b").drawn == {RATE: 0.0}
    assert (first[BASELINE], second[BASELINE]) == (True, True)
    assert not searcher.suggest("c")[BASELINE]


def test_a_queued_baseline_that_was_not_started_waits_in_the_study(study: optuna.Study) -> None:
    sweep = make_sweep(parameters=RATES, queue_baselines=True)
    for _ in range(2):
        StudySearcher(
            sweep=sweep, study=study, identify=identify, room=lambda: 1, trials_folder="trials"
        )
    assert states(study) == ["WAITING", "WAITING"]


def test_a_search_that_is_cut_short_tells_the_study_nothing(go_on: Any) -> None:
    searcher = go_on(SWEEP, known(0, "RUNNING", rate=0.3))
    searcher.suggest("a")
    searcher.abandon()
    searcher.on_trial_complete("a", result(0.2, 1))
    assert states(searcher._study) == ["RUNNING"]


class Trial:
    """The parts of a Tune trial that a scheduler reads."""

    def __init__(self, tune_id: str, trial_id: str, *, is_baseline: bool = False) -> None:
        self.trial_id = tune_id
        self.config = {
            SUBMISSION: Submission(trial_id=trial_id, spec=""),
            NUMBER: 0,
            BASELINE: is_baseline,
        }


def test_rungs_remember_the_trials_of_before() -> None:
    rule = {"kind": "asha", "reduction_factor": 2}
    sweep = SweepSpec.model_validate(
        {"name": "s", "search": {"stopping": rule}, "evaluation": {"num_evaluations": 4}}
    )
    controller: Any = None
    worse: Any = Trial("tune1", "t7")
    fresh = make_scheduler(sweep)
    fresh.on_trial_add(controller, worse)
    first = result(0.1, 1)
    assert fresh.on_trial_result(controller, worse, first) == TrialScheduler.CONTINUE
    trials = [known(0, "COMPLETE", 0.5, 0.6), known(1, "STOPPED", 0.4)]
    informed = make_scheduler(sweep, trials)
    informed.on_trial_add(controller, worse)
    assert informed.on_trial_result(controller, worse, first) == TrialScheduler.STOP
    baseline: Any = Trial("tune2", "t8", is_baseline=True)
    informed.on_trial_add(controller, baseline)
    assert informed.on_trial_result(controller, baseline, first) == TrialScheduler.CONTINUE


def test_a_trial_that_goes_on_is_the_one_the_rungs_know_and_its_last_report_is_decided_again() -> (
    None
):
    rule = {"kind": "asha", "reduction_factor": 2}
    sweep = SweepSpec.model_validate(
        {"name": "s", "search": {"stopping": rule}, "evaluation": {"num_evaluations": 4}}
    )
    trials = [known(0, "COMPLETE", 0.5, 0.6, 0.7, 0.8), known(1, "RUNNING", 0.9, 0.1)]
    assert trials[1].decided_scores == {1: 0.9}
    scheduler = make_scheduler(sweep, trials)
    controller: Any = None
    starts: Any = Trial("tune1", "t1")
    scheduler.on_trial_add(controller, starts)
    again = result(0.1, 2)
    assert scheduler.on_trial_result(controller, starts, again) == TrialScheduler.STOP
