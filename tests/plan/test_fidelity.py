"""Savings of a search at low fidelity, and data that are too few for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.plan.plan import Plan, make_plan
from droplora_sweep.plan.plan_costs import Assumed, find_gpu
from droplora_sweep.plan.survey import Survey, survey
from droplora_sweep.present.contents.plan import plan_table
from droplora_sweep.spec import SweepSpec, load_sweep_file, resolve
from droplora_sweep.tasks.loading import load_task

SPACES = Path(__file__).parents[2] / "search_spaces"
SMALL = (
    "task.benchmarks=[builtin_choice, builtin_math, builtin_code]",
    "task.num_train=128",
    "training.epochs=3",
    "training.global_batch_size=16",
)
TENTH = "search.fidelity={task.num_train: 0.1}"


def planned(file: str, *overrides: str) -> tuple[Survey, Plan]:
    found = survey(load_sweep_file(SPACES / file, overrides, needs_data=False))
    assumed = Assumed(find_gpu("A100-80G"), None, 0.4)
    return found, make_plan(found, [{"CPU": 4.0}], assumed)


def rows(found: Survey, plan: Plan) -> dict[str, str]:
    pairs = ([cell.text for cell in row.cells] for row in plan_table(found, plan).rows)
    return {name.strip(): value for name, value in pairs}


def test_the_paper_on_a_tenth_of_its_data_costs_a_tenth() -> None:
    settings = ("confirm={}", "training.warmup_steps=null")
    full = rows(*planned("paper/table5.yaml", *settings))
    found, plan = planned("paper/table5.yaml", TENTH, *settings)
    low = rows(found, plan)

    assert found.num_search_examples == pytest.approx(found.num_training_examples / 10, abs=4)
    assert plan.work_per_trial == pytest.approx(0.1, abs=0.001)
    assert low["search fidelity"] == (
        "10% of the training examples: 90% of a trial's training is saved; the confirmation trains "
        "in full"
    )
    assert low["steps per trial"] == "at most 396; 3957 in the confirmation"
    assert full["steps per trial"] == "at most 3957"
    assert full["GPU hours"].startswith(
        "at most 23.4 for a trial's training, 70.3 for all trials, 141 to"
    )
    assert low["GPU hours"].startswith(
        "at most 2.34 for a trial's training, 7.03 for all trials (at full fidelity 70.3), 141 to"
    )
    assert low["memory per GPU"] == full["memory per GPU"]


def test_fewer_epochs_and_examples_multiply() -> None:
    found, plan = planned(
        "quickstart.yaml", *SMALL, "search.fidelity={task.num_train: 0.25, training.epochs: 1}"
    )
    assert (found.num_training_examples, found.num_search_examples) == (384, 96)
    assert found.confirm_work == 12.0
    assert plan.work_per_trial == pytest.approx(1 / 12)
    assert (plan.num_steps, plan.num_confirm_steps) == ((6, 6), (72, 72))


def test_without_it_search_and_confirmation_are_alike() -> None:
    found, plan = planned("quickstart.yaml", *SMALL)
    assert found.at_search_fidelity() is found
    assert (found.confirm_work, plan.work_per_trial, plan.fidelity) == (1.0, 1.0, None)
    assert plan.num_steps == plan.num_confirm_steps
    assert "search fidelity" not in rows(found, plan)


def test_too_few_examples_of_a_benchmark_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        planned("quickstart.yaml", *SMALL, "search.fidelity={task.num_train: 0.05}")
    assert str(caught.value.faults[0]) == (
        "--set search.fidelity={task.num_train: 0.05}: search.fidelity.task.num_train: must leave "
        "at least 10 training examples of each benchmark, got 0.05: 6 of the 128 of builtin_choice"
    )
    assert len(caught.value.faults) == 3


def test_a_method_has_the_steps_it_needs_in_the_search_too() -> None:
    settings = ("adapter.method=lora_drop", "training.epochs=1", "training.global_batch_size=384")
    lora_drop = (*settings, "search.parameters.adapter.pruning_rate=null")
    with pytest.raises(InputError) as caught:
        planned("quickstart.yaml", *SMALL, *lora_drop, TENTH)
    assert [fault.field for fault in caught.value.faults] == ["training.epochs"]


COMMIT = "a" * 40
LLAMA = (
    "confirm={margin: 0.02}",
    "search.sampler=random",
    "model.path=meta-llama/Llama-3.1-8B",
    f"model.revision={COMMIT}",
)
RANGE = "search.parameters.training.learning_rate={min: 1e-4, max: 1e-3, scale: log}"


def smaller(path: str) -> str:
    return f"search.fidelity={{model.path: {path}, model.revision: '{COMMIT}'}}"


def test_a_smaller_model_costs_its_own_and_is_not_the_one_that_is_confirmed() -> None:
    model = smaller("meta-llama/Llama-3.2-1B")
    found, plan = planned("paper/table5.yaml", *LLAMA, model, RANGE, "confirm.controls=true")

    assert found.search_model is not None
    assert found.search_model.num_parameters == 1_235_814_400
    assert found.num_search_examples == found.num_training_examples
    assert plan.costs is not None
    assert plan.search_costs is not None
    shown = rows(found, plan)
    # By parameters, but for the embeddings, which are looked up.
    assert plan.work_per_trial == pytest.approx(1 / 6.1, rel=0.1)
    assert found.confirm_work == pytest.approx(8.03 / 1.236, rel=0.01)
    assert shown["search fidelity"].startswith("the model meta-llama/Llama-3.2-1B: 8")
    assert plan.search_costs.memory.weights < plan.costs.memory.weights / 5
    assert plan.advice == (
        "training.learning_rate: is searched on another model than the one that is confirmed, and "
        "kept as it is, where a published fit gives 4.9e-04 and 2.9e-04; fix it for the search, or "
        "search on less data instead",
    )


def test_it_must_be_smaller_and_fit_the_adapter() -> None:
    with pytest.raises(InputError) as caught:
        planned("paper/table5.yaml", *LLAMA, smaller("meta-llama/Llama-2-13b-hf"))
    [fault] = caught.value.faults
    assert fault.field == "search.fidelity.model.path"
    assert fault.problem == (
        "must be a smaller model than `model.path`, which has 8,030,261,248 parameters, got "
        "meta-llama/Llama-2-13b-hf with 13,015,864,320"
    )

    rank = "search.parameters.adapter.rank={values: [32, 512]}"
    with pytest.raises(InputError) as caught:
        planned("paper/table5.yaml", *LLAMA, smaller("Qwen/Qwen2.5-0.5B"), rank)
    [fault] = caught.value.faults
    assert fault.field == "search.parameters.adapter.rank.values[1]"
    assert fault.problem.startswith("must be at most 128, the smallest dimension of a layer")
    assert fault.problem.endswith("got 512 (in the model of `search.fidelity`)")


@pytest.mark.parametrize("fidelity", [{"task.num_train": 0.25}, {"task.num_train": 20}])
def test_the_data_of_both_fidelities_differ_in_training_alone(
    fidelity: dict[str, float],
) -> None:
    task = {"num_train": 64, "num_validation": 12, "num_confirmation": 9, "num_test": 5}
    sweep = SweepSpec.model_validate(
        {"name": "q", "task": task, "search": {"fidelity": fidelity}, "confirm": {}}
    )
    low, full = load_task(resolve({}, sweep).task), load_task(sweep.task)

    for few, all_of_it in zip(low.benchmarks, full.benchmarks, strict=True):
        assert 0 < len(few.train) < len(all_of_it.train)
        assert few.train == all_of_it.train[: len(few.train)]
        assert few.validation == all_of_it.validation
        assert few.confirmation == all_of_it.confirmation
        assert few.test() == all_of_it.test()
