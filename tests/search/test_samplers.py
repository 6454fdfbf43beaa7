"""Conditions that every sampler meets: the searcher on a real Optuna study."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from droplora_sweep.records.messages import Failed, tune_result
from droplora_sweep.records.trial import TrialState
from droplora_sweep.search.history import SearchHistory, TrialHistory
from droplora_sweep.search.samplers import make_sampler
from droplora_sweep.search.scheduler import BASELINE
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from droplora_sweep.spec import SweepSpec, baselines, grid_size, resolve
from tests.recording import result

if TYPE_CHECKING:
    from droplora_sweep.spec import TrialSpec

RATE, RATE_OF_LR, RANK, METHOD = (
    "adapter.pruning_rate",
    "training.learning_rate",
    "adapter.rank",
    "adapter.method",
)
RANGES = {RATE: {"min": 0.0, "max": 0.8}, RATE_OF_LR: {"min": 1e-4, "max": 1e-2, "scale": "log"}}
MIXED = {**RANGES, RANK: {"values": [4, 8, 16]}, METHOD: {"values": ["droplora", "dora"]}}
CONDITIONAL = {
    METHOD: {"values": ["dora", "lora", "full"]},
    RATE: {"min": 0.0, "max": 0.8, "step": 0.2, "when": {METHOD: ["dora", "lora"]}},
    RANK: {"min": 2, "max": 10, "step": 4, "when": {METHOD: ["dora", "lora"]}},
    RATE_OF_LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
}
STEPPED = {
    RATE: {"min": 0.0, "max": 0.8, "step": 0.1},
    RANK: {"values": [4, 8, 16]},
    METHOD: {"values": ["droplora", "dora"]},
}
SPACES = {"grid": STEPPED}
KINDS = (
    "decide",
    "tpe",
    pytest.param("gp", marks=pytest.mark.slow),  # a second for each draw
    "cma_es",
    "random",
    "quasi_random",
    "grid",
    "nsga2",
)
NUM_STARTUP = 4
CLASSES: dict[str, dict[str, Any]] = {
    "QMCSampler": {"scramble": True},
    "CmaEsSampler": {"n_startup_trials": NUM_STARTUP},
    "NSGAIIISampler": {"population_size": 4},
    "BruteForceSampler": {},
    "own": {"step": 0.1},
}
"""Samplers by their class, and options of each."""
OWN = f"{Path(__file__).with_name('own_sampler.py')}:WalkSampler"
ALL = (*KINDS, *CLASSES)
SPACES |= {"BruteForceSampler": STEPPED}


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    adapter, rate = spec.adapter, spec.training.learning_rate
    values = (adapter.method, adapter.rank, adapter.pruning_rate, rate)
    return f"t{number}", " ".join(map(str, values))


def make_sweep(kind: str, *, seed: int = 1, **search: Any) -> SweepSpec:
    options: dict[str, Any] = {
        "kind": kind,
        **({"population_size": 4} if kind in ("cma_es", "nsga2") else {}),
    }
    if kind in CLASSES:
        path = OWN if kind == "own" else f"optuna.samplers.{kind}"
        options = {"kind": "optuna", "class": path, "options": CLASSES[kind]}
    fields = {
        "num_trials": 99,
        "num_startup_trials": NUM_STARTUP,
        "queue_baselines": False,
        "parameters": SPACES.get(kind, MIXED),
        "sampler": options,
        **search,
    }
    return SweepSpec.model_validate({"name": "s", "seed": seed, "search": fields})


def score_of(spec: TrialSpec) -> float:
    """Best at a pruning rate of 0.5 and a learning rate of 1e-3."""
    rate = spec.training.learning_rate
    return 1 - abs(spec.adapter.pruning_rate - 0.5) - abs(math.log10(rate) + 3) / 5


STATES = (*[TrialState.COMPLETE] * 3, TrialState.STOPPED, TrialState.FAILED)


class Search:
    """One driver's searcher, and what it has been told."""

    def __init__(
        self,
        sweep: SweepSpec,
        before: Search | None = None,
        study: optuna.Study | None = None,
    ) -> None:
        self.sweep = sweep
        self.known: dict[int, TrialHistory] = dict(before.known) if before else {}
        self.specs: dict[int, TrialSpec] = dict(before.specs) if before else {}
        study = study or optuna.create_study(direction="maximize")
        reconciled = reconciled_study(study, self.known, sweep)
        ended = {identify(0, self.specs[n])[1]: one.score for n, one in self.known.items()}
        known = SearchHistory(trials=self.known, ended=ended, specs=tuple(self.specs.values()))
        self.searcher = StudySearcher(
            sweep=sweep,
            study=reconciled,
            identify=identify,
            room=lambda: 99,
            trials_folder="trials",
            known=known,
        )

    @property
    def study(self) -> optuna.Study:
        return self.searcher._study

    def draw(self) -> tuple[str, Any] | None:
        """Tune's name of the next trial, and what it is; None at the search's end."""
        name = f"tune{len(self.study.trials)}"
        config = self.searcher.suggest(name)
        return None if config == Searcher.FINISHED else (name, self.searcher.planned(name))

    def tell(self, name: str, planned: Any, state: TrialState = TrialState.COMPLETE) -> None:
        score = score_of(planned.trial_spec)
        scores = {1: score / 2, 2: score}
        if state is TrialState.FAILED:
            self.searcher.on_trial_complete(name, tune_result(Failed("no")))
            scores = {}
        elif state is TrialState.COMPLETE:
            self.searcher.on_trial_result(name, result(score / 2, 1, num_evaluations=2))
            self.searcher.on_trial_complete(name, result(score, 2, num_evaluations=2))
        else:
            self.searcher.on_trial_complete(name, result(score / 2, 1, num_evaluations=2))
            scores = {1: score / 2}
        number = planned.number
        self.known[number] = TrialHistory(
            number=number, name=f"t{number}", drawn=planned.drawn, state=state, scores=scores
        )
        self.specs[number] = planned.trial_spec

    def run(self, num_trials: int) -> list[dict[str, Any]]:
        """So many trials one after another: what was drawn. Every fourth fails or is stopped."""
        drawn = []
        for index in range(num_trials):
            found = self.draw()
            if found is None:
                break
            self.tell(*found, STATES[index % len(STATES)])
            drawn.append(found[1].drawn)
        return drawn


@pytest.mark.parametrize("kind", ALL)
def test_the_seed_alone_decides_what_is_drawn(kind: str) -> None:
    first, again = (Search(make_sweep(kind)).run(9) for _ in range(2))
    other = Search(make_sweep(kind, seed=2)).run(9)
    assert first == again
    assert first != other
    assert len(first) == 9


@pytest.mark.parametrize("kind", ALL)
def test_the_baselines_come_first(kind: str) -> None:
    sweep = make_sweep(kind, queue_baselines=True)
    search = Search(sweep)
    drawn = search.run(8)
    assert drawn[:2] == list(baselines(sweep))
    assert drawn[2] not in drawn[:2]


@pytest.mark.parametrize("kind", [kind for kind in ALL if isinstance(kind, str)])
def test_only_active_parameters_are_drawn(kind: str) -> None:
    space = CONDITIONAL
    if kind in ("grid", "BruteForceSampler"):
        space = {**CONDITIONAL, RATE_OF_LR: {"values": [1e-4, 1e-3]}}
    # A full fine-tuning is two of the 62 points.
    num_trials = 62 if kind == "BruteForceSampler" else 16
    drawn = Search(make_sweep(kind, parameters=space)).run(num_trials)
    assert len(drawn) == num_trials
    assert {params[METHOD] for params in drawn} == {"dora", "lora", "full"}
    for params in drawn:
        assert (RATE in params) == (RANK in params) == (params[METHOD] != "full")


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_goes_on_draws_what_it_would_have_drawn(kind: str) -> None:
    whole, killed = searched_alike(kind)
    resumed = Search(make_sweep(kind), before=killed, study=killed.study)
    assert resumed.run(3) == whole.run(3)


# The order of NSGA-II's parents is in its study alone; see the last test of these.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nsga2"])
def test_so_does_one_whose_study_is_made_anew_from_the_ledger(kind: str) -> None:
    whole, killed = searched_alike(kind)
    resumed = Search(make_sweep(kind), before=killed, study=None)
    assert resumed.run(3) == whole.run(3)


def searched_alike(kind: str) -> tuple[Search, Search]:
    whole, killed = Search(make_sweep(kind)), Search(make_sweep(kind))
    assert whole.run(11) == killed.run(11)
    return whole, killed


def test_a_gaussian_process_draws_alike_and_side_by_side_apart() -> None:
    """The slow tests in one."""
    drawn = []
    for _ in range(2):
        sweep = make_sweep("gp", num_startup_trials=3, parameters={RATE: RANGES[RATE]})
        search = Search(sweep)
        search.run(3)
        found = [search.draw(), search.draw()]
        drawn.append([one[1].drawn[RATE] for one in found if one is not None])
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_a_study_made_anew_has_the_generations_of_nsga2() -> None:
    sweep = make_sweep("nsga2", parameters=RANGES)
    whole = Search(sweep)
    whole.run(11)
    anew = Search(sweep, before=whole).study
    # A child that equals a trial of before is not run again, and only the study knows of it.
    complete = [
        number for number, trial in whole.known.items() if trial.state is TrialState.COMPLETE
    ]
    generations = [
        [study.trials[number].system_attrs["NSGAIISampler:generation"] for number in complete]
        for study in (whole.study, anew)
    ]
    assert generations[0] == generations[1]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("num_before", [0, 10])
def test_trials_side_by_side_are_different_ones(kind: str, num_before: int) -> None:
    search = Search(make_sweep(kind))
    search.run(num_before)
    drawn = [search.draw() for _ in range(4)]
    fingerprints = {found[1].fingerprint for found in drawn if found is not None}
    assert len(fingerprints) == 4


@pytest.mark.parametrize("kind", ALL)
def test_trials_that_fail_or_are_stopped_leave_nothing_running(kind: str) -> None:
    search = Search(make_sweep(kind))
    for state in ["FAILED", "STOPPED", "FAILED", "COMPLETE", "STOPPED", "FAILED"]:
        found = search.draw()
        assert found is not None
        search.tell(*found, TrialState(state))
    assert search.draw() is not None
    finished = [trial.state for trial in search.study.trials[:-1]]
    assert finished == [
        OptunaState.FAIL,
        OptunaState.PRUNED,
        OptunaState.FAIL,
        OptunaState.COMPLETE,
        OptunaState.PRUNED,
        OptunaState.FAIL,
    ]


@pytest.mark.parametrize("kind", KINDS[:3])
def test_models_find_better_trials_than_random_ones(kind: str) -> None:
    """A random trial scores 0.69 in the mean."""
    search = Search(make_sweep(kind, parameters=RANGES))
    scores = []
    for _ in range(20):
        found = search.draw()
        assert found is not None
        search.tell(*found)
        scores.append(score_of(found[1].trial_spec))
    assert sum(scores[-8:]) / 8 > 0.76


def test_a_grid_is_tried_whole_once_and_ends() -> None:
    space = {**CONDITIONAL, RATE_OF_LR: {"values": [1e-4, 1e-3]}}
    sweep = make_sweep("grid", parameters=space, num_trials=None, queue_baselines=True)
    drawn = Search(sweep).run(999)
    assert len(drawn) == grid_size(sweep) == 2 * (2 * 5 * 3 + 1)
    assert len({identify(0, resolve(params, sweep))[1] for params in drawn}) == len(drawn)


def test_a_grid_of_fewer_trials_is_a_part_of_it_drawn_from_the_seed() -> None:
    sweep = make_sweep("grid", num_trials=5)
    search = Search(sweep)
    drawn = search.run(99)
    assert len(drawn) == 5
    assert [params[RATE] for params in drawn] != sorted(params[RATE] for params in drawn)


def test_a_grid_that_goes_on_tries_what_is_left() -> None:
    sweep = make_sweep("grid", num_trials=None, parameters={RATE: STEPPED[RATE]})
    first = Search(sweep)
    before = first.run(6)
    after = Search(sweep, before=first).run(99)
    rates = sorted(params[RATE] for params in (*before, *after))
    assert rates == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_quasi_random_points_are_spread_more_evenly_than_random_ones(sequence: str) -> None:
    sampler = {"kind": "quasi_random", "sequence": sequence}
    sweep = make_sweep("quasi_random", sampler=sampler, parameters={RATE: RANGES[RATE]})
    drawn = sorted(params[RATE] for params in Search(sweep).run(16))
    gaps = [high - low for low, high in pairwise(drawn)]
    assert max(gaps) <= 2 * 0.8 / 16 + 1e-9, "no sixteenth of the range is empty with its neighbour"


def test_cma_es_begins_anew_where_it_has_converged() -> None:
    sweep = make_sweep("cma_es", parameters={RATE: {"min": 0.0, "max": 0.8}})
    sampler: Any = make_sampler(sweep, 0)
    here = [({RATE: 0.3}, 0.5)] * (NUM_STARTUP + 4 * 60)
    told = [(sampler._positions(params), score) for params, score in here]
    assert sampler._replayed(told).generation < 60


def test_baselines_are_marked_for_the_scheduler() -> None:
    searcher = Search(make_sweep("quasi_random", queue_baselines=True)).searcher
    flags = [searcher.suggest(name)[BASELINE] for name in ("a", "b", "c")]
    assert flags == [True, True, False]
