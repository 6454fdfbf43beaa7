"""Several objectives: what the study is told, who can search so, and the Pareto front."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from droplora_sweep.analysis.ranking import pareto_front
from droplora_sweep.present.contents.results import pareto_table
from droplora_sweep.records.messages import message_of
from droplora_sweep.records.trial import TrialState as State
from droplora_sweep.search.history import SearchHistory, TrialHistory
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from droplora_sweep.spec import SweepSpec, resolve
from tests.recording import result as one_of

OBJECTIVES = ("mean", "seconds", "memory")
RATE = "adapter.pruning_rate"
SPACE = {RATE: {"min": 0.0, "max": 0.8, "step": 0.1}, "adapter.rank": {"values": [4, 8, 16]}}
CONTINUOUS = {**SPACE, RATE: {"min": 0.0, "max": 0.8}}
DIRECTIONS = ["maximize", "minimize", "minimize"]


def make_sweep(kind: str = "tpe") -> SweepSpec:
    options = {"kind": kind, **({"population_size": 4} if kind == "nsga2" else {})}
    search = {
        "objectives": OBJECTIVES,
        "stopping": {"kind": "none"},
        "sampler": options,
        "num_startup_trials": 3,
        "parameters": SPACE if kind == "grid" else CONTINUOUS,
        "queue_baselines": False,
    }
    return SweepSpec.model_validate({"name": "s", "search": search})


def identify(number: int, spec: Any) -> tuple[str, str]:
    return f"t{number}", f"{spec.adapter.pruning_rate} {spec.adapter.rank}"


def make_study() -> optuna.Study:
    return optuna.create_study(directions=DIRECTIONS)


def result(
    score: float,
    number: int,
    seconds: float = 5.0,
    memory: float = 1.5,
    *,
    is_repeated: bool = False,
) -> dict[str, Any]:
    costs = {"train_seconds": seconds, "peak_memory_gb": memory}
    return one_of(score, number, num_evaluations=2, is_repeated=is_repeated, **costs)


def test_a_complete_trial_is_told_by_all_its_objectives_and_seconds_add_up() -> None:
    study = make_study()
    searcher = StudySearcher(
        sweep=make_sweep(), study=study, identify=identify, room=lambda: 1, trials_folder="trials"
    )
    searcher.suggest("a")
    searcher.on_trial_result("a", result(0.2, 1, seconds=5.0))
    searcher.on_trial_complete("a", result(0.6, 2, seconds=7.0))
    assert study.trials[0].values == [0.6, 12.0, 1.5]


def test_seconds_of_an_earlier_driver_count_once() -> None:
    before = TrialHistory(
        number=0,
        name="t0",
        drawn={},
        state=State.RUNNING,
        scores={1: 0.2},
        seconds={1: 5.0},
    )
    study = make_study()
    searcher = StudySearcher(
        sweep=make_sweep(),
        study=study,
        identify=identify,
        room=lambda: 1,
        trials_folder="trials",
        known=SearchHistory(trials={0: before}),
    )
    trial = study.ask()
    again = message_of(result(0.2, 1, seconds=5.0, is_repeated=True))
    searcher._reporter.report(trial, again)
    last = message_of(result(0.6, 2, seconds=7.0))
    assert searcher._reporter.end(trial, last) == (0.6, 12.0, 1.5)


@pytest.mark.parametrize(
    "last",
    [result(0.6, 1), result(0.6, 2, memory=float("nan")), result(float("inf"), 2)],
    ids=["stopped", "without a cost", "without a score"],
)
def test_a_trial_without_all_objectives_fails(last: dict[str, Any]) -> None:
    study = make_study()
    searcher = StudySearcher(
        sweep=make_sweep(), study=study, identify=identify, room=lambda: 1, trials_folder="trials"
    )
    searcher.suggest("a")
    searcher.on_trial_complete("a", last)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


@pytest.mark.parametrize(
    "kind",
    [
        "tpe",
        pytest.param("gp", marks=pytest.mark.slow),
        "random",
        "quasi_random",
        "grid",
        "nsga2",
    ],
)
def test_samplers_weigh_several_objectives_and_go_on_alike(kind: str) -> None:
    sweep = make_sweep(kind)

    def run(searcher: StudySearcher, numbers: range, known: dict[int, TrialHistory]) -> list[Any]:
        drawn = []
        for index in numbers:
            name = f"tune{index}"
            searcher.suggest(name)
            planned = searcher.planned(name)
            drawn.append(planned.drawn)
            adapter = planned.trial_spec.adapter
            rank, rate = adapter.rank, adapter.pruning_rate
            score, seconds = 1 - (rate - 0.4) ** 2, float(rank)
            searcher.on_trial_complete(name, result(score, 2, seconds=seconds))
            known[planned.number] = TrialHistory(
                number=planned.number,
                name=planned.trial_id,
                drawn=planned.drawn,
                state=State.COMPLETE,
                scores={2: score},
                values=(score, seconds, 1.5),
                seconds={2: seconds},
            )
        return drawn

    known: dict[int, TrialHistory] = {}
    searcher = StudySearcher(
        sweep=sweep, study=make_study(), identify=identify, room=lambda: 9, trials_folder="trials"
    )
    first = run(searcher, range(6), known)
    assert len({str(params) for params in first}) == 6
    anew = reconciled_study(make_study(), known, sweep)
    assert [trial.values for trial in anew.trials if trial.values] == [
        list(known[number].values or ()) for number in sorted(known)
    ]
    if kind == "nsga2":
        return  # the order of its parents is in the study alone
    ended = {
        identify(0, resolve(dict(trial.drawn), sweep))[1]: trial.reported
        for trial in known.values()
    }
    resumed = StudySearcher(
        sweep=sweep,
        study=anew,
        identify=identify,
        room=lambda: 9,
        trials_folder="trials",
        known=SearchHistory(trials=known, ended=ended),
    )
    assert run(resumed, range(10, 12), {}) == run(searcher, range(10, 12), {})


def record(number: int, state: str = "COMPLETE", **values: float) -> Any:
    metrics = {
        "val/mean": values.get("mean", 0.5),
        "peak_memory_gb": values.get("memory", 1.0),
        "train_seconds": 1.0,
    }
    half = values.get("seconds", 10.0) / 2
    evaluations = [SimpleNamespace(metrics={"train_seconds": half}) for _ in range(2)]
    return SimpleNamespace(
        trial_id=f"t{number}",
        number=number,
        state=state,
        spec={},
        metrics=metrics,
        evaluations=evaluations,
    )


def test_the_front_is_what_no_other_beats_in_everything() -> None:
    records = [
        record(0, mean=0.5, seconds=10.0),
        record(1, mean=0.6, seconds=10.0),  # beats 0
        record(2, mean=0.9, seconds=40.0),
        record(3, mean=0.4, seconds=2.0),
        record(4, mean=0.6, seconds=10.0),  # as good as 1
        record(5, mean=0.55, seconds=11.0),  # beaten by 1
        record(6, "STOPPED", mean=0.95, seconds=1.0),
        record(7, mean=float("nan")),
        record(8, "FAILED"),
    ]
    front = pareto_front(records, ("mean", "seconds"))
    assert [point.number for point in front] == [2, 1, 4, 3]
    assert front[0].values == {"mean": 0.9, "seconds": 40.0}
    assert pareto_front([], ("mean", "seconds")) == ()
    assert [point.number for point in pareto_front(records[:1], ("mean", "memory"))] == [0]


def test_the_front_is_shown_in_the_objectives_units() -> None:
    [shown] = pareto_table([record(0, mean=0.5, seconds=90.0)], OBJECTIVES).rows
    assert [cell.text for cell in shown.cells] == ["t0", "50.0 %", "1 min 30 s", "1.00 GB"]
