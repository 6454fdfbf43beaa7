"""``training.micro_batch_size: auto`` is the largest that fits by the plan's count of memory."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION, GPUS
from droplora_sweep.plan.micro_batch import MOST, ON_CPU, as_planned, with_micro_batch
from droplora_sweep.plan.plan_costs import NOTHING_ASSUMED, Assumed, plan_costs
from droplora_sweep.plan.survey import survey
from droplora_sweep.run.starting import with_choices_of
from droplora_sweep.spec import load_sweep_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.plan.survey import Survey

LLAMA = {
    "path": "meta-llama/Llama-2-7b-hf",
    "revision": "01c7f73d771dfac7d292323805ebc428287df4f9",
    "dtype": "bfloat16",
}
CPU = [{"CPU": 8.0}]


@pytest.fixture
def survey_of(tmp_path: Path) -> Callable[..., Survey]:
    def make(**sections: Any) -> Survey:
        file = tmp_path / "s.yaml"
        data = {
            "name": "q",
            "model": LLAMA,
            "task": {"benchmarks": ["boolq"]},
            "group": {"num_workers": 4, "gpus_per_worker": 1},
            **sections,
        }
        data["training"] = {"micro_batch_size": "auto", **data.get("training", {})}
        file.write_text(yaml.safe_dump(data))
        return survey(load_sweep_file(file, needs_data=False))

    return make


def on(gpu: str) -> Assumed:
    return Assumed(GPUS[gpu], None, ASSUMED_UTILISATION)


def size_of(found: Survey) -> int | str:
    return found.sweep.training.micro_batch_size


def fits(found: Survey, size: int, assumed: Assumed) -> bool:
    training = found.sweep.training.model_copy(update={"micro_batch_size": size})
    sweep = found.sweep.model_copy(update={"training": training})
    costs = plan_costs(replace(found, sweep=sweep), CPU, assumed)
    assert costs is not None
    return costs.misfit is None


@pytest.mark.parametrize("is_checkpointed", [True, False])
@pytest.mark.parametrize("gpu", ["A100-40G", "A100-80G", "H200"])
def test_it_fits_and_twice_as_many_do_not(
    survey_of: Callable[..., Survey], gpu: str, is_checkpointed: bool
) -> None:
    ranks = {"parameters": {"adapter.rank": {"values": [8, 64]}}}
    training = {"gradient_checkpointing": is_checkpointed, "global_batch_size": 512}
    found = survey_of(training=training, search=ranks)
    size = size_of(with_micro_batch(found, CPU, on(gpu)))
    assert isinstance(size, int)
    assert fits(found, size, on(gpu))
    assert size == MOST or not fits(found, 2 * size, on(gpu))


def test_it_is_no_more_than_a_workers_share_of_the_smallest_batch(
    survey_of: Callable[..., Survey],
) -> None:
    batches = {"parameters": {"training.global_batch_size": {"values": [28, 512]}}}
    found = survey_of(training={"gradient_checkpointing": True}, search=batches)
    assert size_of(with_micro_batch(found, CPU, on("H200"))) == 4


def test_cpus_take_few_at_once(survey_of: Callable[..., Survey]) -> None:
    found = survey_of(model={"path": "builtin"}, group={"num_workers": 2})
    assert size_of(with_micro_batch(found, CPU)) == ON_CPU
    small = survey_of(
        model={"path": "builtin"}, group={"num_workers": 2}, training={"global_batch_size": 4}
    )
    assert size_of(with_micro_batch(small, CPU)) == 2


def test_a_cluster_names_its_gpus(survey_of: Callable[..., Survey]) -> None:
    found = survey_of(training={"gradient_checkpointing": True})
    node = {"CPU": 8.0, "GPU": 4.0, "accelerator_type:A100-80G": 1.0}
    by_node = with_micro_batch(found, [node])
    assert size_of(by_node) == size_of(with_micro_batch(found, CPU, on("A100-80G")))


def test_where_nothing_fits_it_is_one_and_the_plan_says_what_is_missing(
    survey_of: Callable[..., Survey],
) -> None:
    chosen = with_micro_batch(survey_of(), CPU, on("T4"))
    costs = plan_costs(chosen, CPU, on("T4"))
    assert size_of(chosen) == 1
    assert costs is not None
    assert costs.misfit is not None


def test_unknown_gpus_are_to_be_named(survey_of: Callable[..., Survey]) -> None:
    found = survey_of()
    problem = (
        "training.micro_batch_size: must be a number where the kind of GPU is not known, got auto; "
        "`group.accelerator_type` or `plan --gpu` names it"
    )
    with pytest.raises(InputError) as caught:
        with_micro_batch(found, [{"CPU": 8.0, "GPU": 4.0}])
    place, _, rest = str(caught.value).partition(": ")
    assert re.fullmatch(r".*s\.yaml:\d+", place)
    assert rest == problem
    planned, remarks = as_planned(found, CPU, NOTHING_ASSUMED)
    assert planned is found
    assert remarks == [f"{problem}; counted as 1 here"]


def test_a_model_of_unknown_memory_needs_a_number(survey_of: Callable[..., Survey]) -> None:
    found = replace(survey_of(), model=None)
    with pytest.raises(InputError) as caught:
        with_micro_batch(found, CPU, on("H200"))
    assert str(caught.value).partition(": ")[2] == (
        "training.micro_batch_size: must be a number for this model, since memory is counted for "
        "Llama's kind alone, got auto"
    )


def test_a_resumed_sweep_keeps_what_was_chosen(survey_of: Callable[..., Survey]) -> None:
    found = survey_of(training={"gradient_checkpointing": True})
    begun = with_micro_batch(found, CPU, on("A100-40G")).sweep
    resumed = with_choices_of(begun, found.sweep)
    assert resumed.training == begun.training
    other = found.sweep.training.model_copy(update={"micro_batch_size": 3})
    given = found.sweep.model_copy(update={"training": other})
    assert with_choices_of(begun, given).training.micro_batch_size == 3
