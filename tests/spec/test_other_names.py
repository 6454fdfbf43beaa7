"""Names of fields in other programs, and fields in the wrong section, lead to ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from peft import LoraConfig

from droplora_sweep.spec.fields import COMPOUND_FIELDS, SCALAR_FIELDS
from droplora_sweep.spec.loading.messages import OTHER_NAMES, ours_of
from droplora_sweep.spec.search import SearchSpec
from droplora_sweep.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    Refusal = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("adapter.lora_dropout", "dropout"),
        ("adapter.r", "rank"),
        ("adapter.lora_alpha", "alpha"),
        ("adapter.lora_r", "rank"),
        ("adapter.use_dora", "method"),
        ("adapter.learning_rate", "training.learning_rate"),
        ("lora_alpha", "adapter.alpha"),
        ("rank", "adapter.rank"),
        ("lr", "training.learning_rate"),
        ("output_dir", "storage"),
        ("training.lr", "learning_rate"),
        ("training.num_train_epochs", "epochs"),
        ("training.per_device_train_batch_size", "micro_batch_size"),
        ("training.batch_size", "global_batch_size"),
        ("training.max_seq_length", "max_sequence_tokens"),
        ("model.model_name_or_path", "path"),
        ("search.n_trials", "num_trials"),
        ("search.pruner", "stopping"),
    ],
)
def test_a_name_of_another_program_or_section(refusal: Refusal, path: str, ours: str) -> None:
    *sections, name = path.split(".")
    text = f"{sections[0]}:\n  {name}: 8\n" if sections else f"{name}: 8\n"
    line = 3 if sections else 2
    assert refusal(f"name: q\n{text}") == [
        f"s.yaml:{line}: {path}: unknown key, did you mean `{ours}`?"
    ]
    if "." in ours or sections in (["adapter"], ["training"]):
        full = ours if "." in ours else f"{sections[0]}.{ours}"
        domain = f"search:\n  parameters:\n    {path}: {{values: [1, 2]}}\n"
        assert refusal(f"name: q\n{domain}") == [
            f"s.yaml:4: search.parameters.{path}: is not a field of a trial, did you mean `{full}`?"
        ]
        assert refusal("name: q\n", f"{path}=8") == [
            f"--set {path}=8: {path}: unknown key, did you mean `{ours}`?"
        ]


def test_every_name_leads_to_a_field_and_is_none_itself() -> None:
    search = {f"search.{name}" for name in SearchSpec.model_fields}
    known = {
        *SCALAR_FIELDS,
        *COMPOUND_FIELDS,
        *SweepSpec.model_fields,
        *search,
        "group.num_workers",
    }
    assert known >= OTHER_NAMES.keys()
    for ours, names in OTHER_NAMES.items():
        section = ours.rpartition(".")[0]
        for name in names.split():
            assert f"{section}.{name}".removeprefix(".") not in known
            assert ours_of(name) == ours


def test_names_of_peft_are_names_of_peft() -> None:
    for name in ("r", "lora_alpha", "lora_dropout", "use_dora", "use_rslora"):
        assert name in LoraConfig.__dataclass_fields__
        assert ours_of(name) is not None
