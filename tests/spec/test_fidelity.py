"""A search at low fidelity: which fields its trials have otherwise, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from droplora_sweep.spec import SweepSpec, TaskSpec, drawn_values, fingerprint, json_schema, resolve
from droplora_sweep.spec.at_fidelity import at_full_fidelity, at_search_fidelity
from droplora_sweep.spec.fidelity import fidelity_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = """
name: q
task: {num_train: 1000}
search:
  fidelity: {task.num_train: 0.1, training.epochs: 1}
  parameters:
    adapter.rank: {values: [4, 8]}
    adapter.pruning_rate: {values: [0.0, 0.5]}
confirm: {}
"""
VALUES = {"adapter.rank": 4, "adapter.pruning_rate": 0.5}
VERSIONS = {"torch": "2"}


def sweep(fidelity: dict[str, Any] | None, **fields: Any) -> SweepSpec:
    parameters = {"adapter.rank": {"values": [4, 8]}, "adapter.pruning_rate": {"values": [0, 0.5]}}
    search = {"parameters": parameters, "fidelity": fidelity}
    return SweepSpec.model_validate({"name": "q", "search": search, "confirm": {}, **fields})


def test_a_trial_of_the_search_differs_in_these_fields_alone() -> None:
    low = resolve(VALUES, sweep({"task.num_train": 0.1, "training.epochs": 1}))
    full = resolve(VALUES, sweep(None))

    assert (low.task.train_share, low.training.epochs) == (0.1, 1)
    task = low.task.model_copy(update={"train_share": None})
    training = low.training.model_copy(update={"epochs": full.training.epochs})
    assert low.model_copy(update={"task": task, "training": training}) == full


def test_a_share_is_of_what_the_sweep_trains_on() -> None:
    found = resolve(VALUES, sweep({"task.num_train": 0.5}, task={"train_share": 0.5}))
    assert found.task.train_share == 0.25


def test_a_number_takes_the_place_of_number_and_share() -> None:
    task = {"num_train": 1000, "train_share": 0.5}
    found = resolve(VALUES, sweep({"task.num_train": 64}, task=task))
    assert (found.task.num_train, found.task.train_share) == (64, None)


@pytest.mark.parametrize(
    "fidelity", [None, {"task.num_train": 0.1}, {"task.num_train": 64, "training.epochs": 1}]
)
def test_full_fidelity_is_what_the_sweep_says(fidelity: dict[str, Any] | None) -> None:
    task = {"num_train": 1000, "train_share": 0.5}
    low = sweep(fidelity, task=task)
    assert at_full_fidelity(resolve(VALUES, low), low) == resolve(VALUES, sweep(None, task=task))


def test_what_a_trial_was_drawn_as_is_found_again() -> None:
    low = sweep({"task.num_train": 0.1})
    assert drawn_values(resolve(VALUES, low), low) == VALUES
    assert drawn_values(resolve(VALUES, sweep(None)), low) is None


def test_the_sweep_of_the_search_has_its_trials() -> None:
    low = sweep({"task.num_train": 0.1})
    assert resolve(VALUES, at_search_fidelity(low)) == resolve(VALUES, low)
    assert at_search_fidelity(sweep(None)) == sweep(None)


def test_trials_of_two_fidelities_have_two_fingerprints() -> None:
    specs = [resolve(VALUES, sweep(one)) for one in (None, {"task.num_train": 0.1})]
    digests = {fingerprint(spec, {}, VERSIONS, num_workers=1) for spec in specs}
    assert len(digests) == 2


def test_a_task_without_a_share_is_written_as_it_was() -> None:
    """So that fingerprints and checkpoints of earlier sweeps stay what they are."""
    assert "train_share" not in TaskSpec().model_dump(mode="json")
    assert "train_share" not in json.loads(TaskSpec().model_dump_json())
    assert TaskSpec(train_share=0.5).model_dump(mode="json")["train_share"] == 0.5


def test_a_ledger_reads_its_sweep_again() -> None:
    low = sweep({"task.num_train": 0.1, "training.epochs": 1}, task={"train_share": 0.5})
    assert SweepSpec.model_validate_json(low.model_dump_json()) == low


def test_the_schema_takes_it() -> None:
    schema = json_schema()
    part = {"$ref": "#/$defs/FidelitySpec", "$defs": schema["$defs"]}
    validator = jsonschema.Draft202012Validator(part)
    right = ({"task.num_train": 0.1, "training.epochs": 1}, {"task.num_train": 64})
    wrong = ({"task.num_train": 1.5}, {"task.num_train": 0}, {"task.num_train": "a"}, {"num": 1})
    assert all(map(validator.is_valid, right))
    assert not any(map(validator.is_valid, wrong))


def test_it_is_told_in_words() -> None:
    mixture = {"name": "metamathqa"}
    found = [
        fidelity_text(sweep(fidelity, **fields).model_dump(mode="json"))
        for fidelity, fields in (
            (None, {}),
            ({"task.num_train": 0.125}, {}),
            ({"task.num_train": 2000}, {"task": {"train": mixture}}),
            ({"task.num_train": 2000, "training.epochs": 2}, {}),
        )
    ]
    assert found == [
        None,
        "12.5% of the training examples",
        "at most 2,000 training examples of metamathqa",
        "at most 2,000 training examples of each benchmark, 2 epochs of 3",
    ]


ENTRY = "search.fidelity.task.num_train"
COUNT = "must be a number of examples, at least 1, or a share of them in (0, 1), got"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (f"{ENTRY}=1.5", f"{ENTRY}: {COUNT} 1.5"),
        (f"{ENTRY}=0", f"{ENTRY}: {COUNT} 0"),
        (f"{ENTRY}=true", f"{ENTRY}: {COUNT} true"),
        (f"{ENTRY}=all", f"{ENTRY}: {COUNT} 'all'"),
        (f"{ENTRY}=1000", f"{ENTRY}: must be less than `task.num_train`, 1000, got 1000"),
        (
            "search.fidelity.training.epochs=3",
            "search.fidelity.training.epochs: must be less than `training.epochs`, 3, got 3",
        ),
        (
            "search.fidelity.training.epochs=0",
            "search.fidelity.training.epochs: must be at least 1, got 0",
        ),
        (
            "search.fidelity={}",
            "search.fidelity: must have one of task.num_train, training.epochs, model.path, "
            "model.revision, or be null",
        ),
        (
            "search.fidelity.num_train=10",
            "search.fidelity.num_train: unknown key, did you mean `task.num_train`?",
        ),
        (
            "training.warmup_steps=100",
            "training.warmup_steps: must be null with `search.fidelity`, whose trials take fewer "
            "steps: give `training.warmup_ratio`, a share of them (the paper's is 0.03), got 100",
        ),
        (
            "search.parameters.task.num_train={values: [10, 20]}",
            "search.parameters.task.num_train: must not be searched where `search.fidelity` gives "
            "the search's value of it",
        ),
        (
            "search.fidelity.model.path=builtin",
            "search.fidelity.model.path: must differ from `model.path`, got 'builtin'",
        ),
        (
            "search.fidelity.model.path=no/such/folder",
            "search.fidelity.model.path: must be an existing folder, got 'no/such/folder'",
        ),
        (
            "search.fidelity.model.revision=main",
            "search.fidelity.model.revision: must be left out without `model.path` here, got "
            "'main'",
        ),
        ("task.train_share=1", "task.train_share: must be in (0, 1), got 1"),
    ],
)
def test_one_fault_is_one_line(refusal: Callable[..., list[str]], override: str, line: str) -> None:
    assert refusal(FILE, override) == [f"--set {override}: {line}"]


def test_without_a_confirmation_nothing_would_be_trained_in_full(
    refusal: Callable[..., list[str]],
) -> None:
    assert refusal(FILE, "confirm=null") == [
        "s.yaml:5: search.fidelity: must be null without `confirm`, whose runs alone train at full "
        "fidelity"
    ]


def test_another_model_is_confirmed_on_examples_of_its_own(
    refusal: Callable[..., list[str]], tmp_path: Path
) -> None:
    overrides = (f"search.fidelity.model.path={tmp_path}", "confirm.examples=validation")
    assert refusal(FILE, *overrides) == [
        "--set confirm.examples=validation: confirm.examples: must be new with another model in "
        "`search.fidelity`: the untrained model is scored once on each split, got 'validation'"
    ]


def test_a_model_of_the_hub_needs_its_commit(refusal: Callable[..., list[str]]) -> None:
    assert refusal(FILE, "search.fidelity.model.path=Qwen/Qwen2.5-0.5B") == [
        "s.yaml:5: search.fidelity.model.revision: must be given: the commit to use, since "
        "`search.fidelity.model.path` is no folder here and so a Hub id, got 'Qwen/Qwen2.5-0.5B'"
    ]


def test_a_smaller_model_is_the_searchs_alone() -> None:
    revision = "0" * 40
    model = {"path": "org/large", "revision": "1" * 40, "dtype": "bfloat16"}
    small = {"model.path": "org/small", "model.revision": revision}
    low = sweep(small, model=model)
    found = resolve(VALUES, low)
    assert found.model == low.model.model_copy(update={"path": "org/small", "revision": revision})
    assert at_full_fidelity(found, low) == resolve(VALUES, sweep(None, model=model))
    assert fidelity_text(low.model_dump(mode="json")) == "the model org/small"


def test_variants_are_not_compared_at_low_fidelity(refusal: Callable[..., list[str]]) -> None:
    compare = ("search.compare=adapter.rank", "search.stopping=none", "search.num_trials=4")
    assert refusal(FILE, *compare) == [
        "s.yaml:5: search.fidelity: must be null with `search.compare`: variants are compared by "
        "the search's own trials, which would all be at low fidelity"
    ]
