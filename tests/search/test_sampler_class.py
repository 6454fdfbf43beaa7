"""Samplers by class name: found, built, tried before the sweep, and ended by their own wish."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.plan.survey import survey
from droplora_sweep.records.trial import TrialState
from droplora_sweep.search.sampler_class import check_sampler
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.spec import OptunaSamplerSpec, SweepSpec, load_sweep, load_sweep_file
from tests.recording import result

if TYPE_CHECKING:
    from droplora_sweep.spec import TrialSpec

HERE = Path(__file__).parent
OWN = str(HERE / "own_sampler.py")
RATE, RANK = "adapter.pruning_rate", "adapter.rank"
SPACE = {RATE: {"min": 0.0, "max": 0.5, "step": 0.1}, RANK: {"values": [4, 8]}}


def make(path: str, options: dict[str, Any] | None = None, **search: Any) -> SweepSpec:
    sampler = {"kind": "optuna", "class": path, "options": options or {}}
    fields = {"parameters": SPACE, "queue_baselines": False, "sampler": sampler, **search}
    return SweepSpec.model_validate({"name": "s", "search": fields})


FAULTS = {
    "no_path": (
        {"path": "QMCSampler"},
        "search.sampler.class: must be the path of a class, e.g. optuna.samplers.QMCSampler, got "
        "'QMCSampler'",
    ),
    "no_module": (
        {"path": "optuna_samplers.QMCSampler"},
        "search.sampler.class: must be a class that can be imported, got "
        "'optuna_samplers.QMCSampler': ModuleNotFoundError: No module named 'optuna_samplers'",
    ),
    "no_file": (
        {"path": "/nowhere/mine.py:Mine"},
        "search.sampler.class: must be a class that can be imported, got '/nowhere/mine.py:Mine': "
        "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/mine.py'",
    ),
    "misspelt": (
        {"path": "optuna.samplers:QMCSamper"},
        "search.sampler.class: must be a subclass of optuna.samplers.BaseSampler, got "
        "'optuna.samplers:QMCSamper'; did you mean QMCSampler?",
    ),
    "no_sampler": (
        {"path": "optuna.Study"},
        "search.sampler.class: must be a subclass of optuna.samplers.BaseSampler, got "
        "'optuna.Study'",
    ),
    "unknown_option": (
        {"path": "optuna.samplers.QMCSampler", "options": {"qmctype": "halton"}},
        "search.sampler.options.qmctype: unknown option of QMCSampler, did you mean `qmc_type`?",
    ),
    "option_of_a_sampler_with_few": (
        {"path": f"{OWN}:WalkSampler", "options": {"step": 0.1, "width": 1}},
        "search.sampler.options.width: unknown option of WalkSampler, known ones are step, seed",
    ),
    "bad_option": (
        {"path": f"{OWN}:WalkSampler", "options": {"step": 2}},
        "search.sampler.options: must be options that WalkSampler takes, got {'step': 2}: "
        "ValueError: step must be in (0, 1], got 2",
    ),
    "missing_option": (
        {"path": "optuna.samplers.GridSampler"},
        "search.sampler.options: must be options that GridSampler takes, got {}: TypeError: "
        "GridSampler.__init__() missing 1 required positional argument: 'search_space'",
    ),
    "space_without_a_parameter": (
        {"path": "optuna.samplers.GridSampler", "options": {"search_space": {RANK: [4, 8]}}},
        "search.sampler.class: must be able to draw trials of this search, got "
        "'optuna.samplers.GridSampler': ValueError: The parameter name, adapter.pruning_rate, is "
        "not found in the given grid.",
    ),
    "several_objectives": (
        {
            "path": "optuna.samplers.CmaEsSampler",
            "objectives": ["mean", "seconds"],
            "stopping": "none",
        },
        "search.sampler.class: must be able to draw trials of this search, got "
        "'optuna.samplers.CmaEsSampler': ValueError: If the study is being used for "
        "multi-objective optimization, CmaEsSampler cannot be used.",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_sample_is_refused_before_the_sweep(case: str) -> None:
    fields, message = FAULTS[case]
    with pytest.raises(InputError) as refused:
        check_sampler(make(**fields))
    assert str(refused.value) == message


def test_a_value_outside_the_search_is_refused_though_optuna_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HERE)
    with pytest.raises(InputError) as refused:
        check_sampler(make("./own_sampler.py:LostSampler", {"step": 0.1}))
    [fault] = refused.value.faults
    assert fault.problem == (
        "must be able to draw trials of this search, got './own_sampler.py:LostSampler': "
        "adapter.pruning_rate: must be in its domain, got -1.0"
    )


def test_a_fault_has_the_line_of_its_field_and_a_file_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE)
    file = tmp_path / "s.yaml"
    sampler = "  sampler:\n    kind: optuna\n    class: ./own_sampler.py:WalkSampler\n    options: "
    parameters = "  parameters:\n    adapter.pruning_rate: {min: 0.0, max: 0.5}\n"
    file.write_text(f"name: s\nsearch:\n{sampler}{{step: 0.2}}\n{parameters}")
    found = survey(load_sweep_file(file)).sweep.search.sampler
    assert isinstance(found, OptunaSamplerSpec)
    assert found.class_path == f"{HERE / 'own_sampler.py'}:WalkSampler"
    file.write_text(f"name: s\nsearch:\n{sampler}{{step: 0.0}}\n{parameters}")
    with pytest.raises(InputError) as refused:
        survey(load_sweep_file(file))
    assert str(refused.value) == (
        f"{file}:6: search.sampler.options: must be options that WalkSampler takes, got "
        "{'step': 0.0}: ValueError: step must be in (0, 1], got 0.0"
    )


def test_a_folder_is_a_package_that_may_import_its_own_modules(tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .inner import WalkSampler as Walk\n")
    (folder / "inner.py").write_text(Path(OWN).read_text())
    check_sampler(make(f"{folder}:Walk", {"step": 0.5}))


def test_the_spec_says_class_in_every_form(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\nsearch:\n  sampler: {kind: optuna, class: optuna.samplers.QMCSampler}\n"
    )
    sweep = load_sweep(file, ["search.sampler.options.scramble=true"])
    dumped = sweep.model_dump(mode="json")["search"]["sampler"]
    path = "optuna.samplers.QMCSampler"
    assert dumped == {"kind": "optuna", "class": path, "options": {"scramble": True}}
    assert SweepSpec.model_validate_json(sweep.model_dump_json()) == sweep


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("optuna", "s.yaml:3: search.sampler.class: must be given"),
        (
            "{kind: optuna, clas: a.B}",
            "s.yaml:3: search.sampler.clas: unknown key, did you mean `class`?",
        ),
        (
            "{kind: optuna, class: a.B, options: {x: !!binary aGVsbG8=}}",
            "s.yaml:3: search.sampler.options.x: YAML tags are refused, got !!binary",
        ),
    ],
)
def test_a_bad_mapping_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(f"name: s\nsearch:\n  sampler: {sampler}\n")
    with pytest.raises(InputError) as refused:
        load_sweep("s.yaml")
    assert str(refused.value) == message


def searcher_of(sweep: SweepSpec) -> StudySearcher:
    study = optuna.create_study(direction="maximize")

    def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
        return f"t{number}", f"{spec.adapter.pruning_rate:g} {spec.adapter.rank}"

    return StudySearcher(
        sweep=sweep, study=study, identify=identify, room=lambda: 99, trials_folder="trials"
    )


def test_a_sampler_that_has_tried_everything_ends_the_search() -> None:
    searcher = searcher_of(make("optuna.samplers.BruteForceSampler", num_trials=99))
    drawn = set()
    while not searcher.is_over:
        config = searcher.suggest("tune")
        if isinstance(config, dict):
            drawn.add(searcher.planned("tune").fingerprint)
            searcher.on_trial_complete("tune", result(0.5))
    assert len(drawn) == 6 * 2


def test_a_sampler_that_raises_ends_the_sweep_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    searcher = searcher_of(make("./own_sampler.py:LostSampler", {"step": 0.1}))
    with pytest.raises(SweepError) as ended:
        searcher.suggest("tune")
    assert str(ended.value) == (
        "search.sampler: './own_sampler.py:LostSampler' raised adapter.pruning_rate: must be in "
        "its domain, got -1.0"
    )


def test_a_resumed_search_does_not_repeat_the_draws_of_the_first() -> None:
    sweep = make("optuna.samplers.RandomSampler")
    first = searcher_of(sweep)
    drawn = []
    for searcher in (first, None):
        if searcher is None:
            searcher = StudySearcher(
                sweep=sweep,
                study=first._study,
                identify=first._identify,
                room=lambda: 99,
                trials_folder="trials",
            )
        for name in ("a", "b", "c"):
            assert searcher.suggest(name)
            drawn.append(searcher.planned(name).drawn)
    assert drawn[:3] != drawn[3:]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_by_a_sampler_of_ones_own_is_resumed(tmp_path: Path) -> None:
    settings = {
        "storage": tmp_path,
        "task.benchmarks": "[builtin_choice]",
        "task.num_train": 16,
        "task.num_validation": 16,
        "training.epochs": 1,
        "training.global_batch_size": 16,
        "evaluation.max_new_tokens": 8,
        "group.num_workers": 1,
        "group.max_groups": 1,
        "confirm": "null",
        "search.stopping": "none",
        "search.sampler": f"{{kind: optuna, class: '{OWN}:WalkSampler', options: {{step: 0.5}}}}",
    }
    before: list[str] = []
    for num_trials in (3, 5):
        given = {**settings, "search.num_trials": num_trials}
        words = [part for path, value in given.items() for part in ("--set", f"{path}={value}")]
        space = str(HERE.parents[1] / "search_spaces" / "quickstart.yaml")
        command = [sys.executable, "-m", "droplora_sweep", "run", space, "--address", "local"]
        done = subprocess.run(
            [*command, *words], cwd=HERE.parents[1], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        trials = Ledger.open(tmp_path, "quickstart").records()
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * num_trials
        ids = [trial.trial_id for trial in trials]
        assert ids[: len(before)] == before
        before = ids
    assert len({str(trial.params) for trial in trials}) == 5
