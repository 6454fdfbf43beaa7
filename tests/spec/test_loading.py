"""The meaning of a search-space file and its overrides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.spec import (
    AshaSpec,
    Choice,
    NoStoppingSpec,
    Range,
    SweepSpec,
    load_sweep,
    load_sweep_file,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        file = tmp_path / "s.yaml"
        file.write_text(text)
        return file

    return write_file


def test_a_name_is_enough(write) -> None:
    assert load_sweep(write("name: q\n")) == SweepSpec(name="q")


def test_scalars_follow_yaml_1_2(write) -> None:
    file = write(
        "name: on\nseed: 0x10\nstorage: 2026-01-01\n"
        "training: {learning_rate: 1e-4, weight_decay: .5, warmup_steps: 0o10}\n"
        "adapter: {alpha: 8, rescale: False, pruning_rate: 0.}\ntask: {data: ~, num_train: Null}\n"
    )

    sweep = load_sweep(file)

    assert (sweep.name, sweep.seed, sweep.storage) == ("on", 16, "2026-01-01")
    assert sweep.training.learning_rate == 0.0001
    assert sweep.training.weight_decay == 0.5
    assert sweep.training.warmup_steps == 8
    assert sweep.adapter.rescale is False
    assert sweep.task.data is None
    assert sweep.task.num_train is None


def test_whole_numbers_in_float_fields_are_floats(write) -> None:
    sweep = load_sweep(write("name: q\nadapter: {alpha: 64}\n"))

    assert isinstance(sweep.adapter.alpha, float)
    alpha = SweepSpec(name="q").adapter.with_alpha().alpha
    assert isinstance(alpha, float), "the default is one too"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfname: q\n")

    assert load_sweep(tmp_path / "s.yaml").name == "q"


def test_parameters(write) -> None:
    file = write(
        "name: q\nsearch:\n  stopping: {kind: none}\n  parameters:\n"
        "    adapter.rank: {values: [4, 8]}\n"
        "    adapter.alpha: {min: 1, max: 4, ratio_of: adapter.rank}\n"
        "    adapter.method: {values: [lora, droplora]}\n"
        "    adapter.pruning_rate:\n      {min: 0.1, max: 0.5, when: {adapter.method: droplora}}\n"
    )

    search = load_sweep(file).search

    assert search.stopping == NoStoppingSpec()
    assert search.parameters == {
        "adapter.rank": Choice(values=(4, 8)),
        "adapter.alpha": Range(min=1, max=4, ratio_of="adapter.rank"),
        "adapter.method": Choice(values=("lora", "droplora")),
        "adapter.pruning_rate": Range(min=0.1, max=0.5, when={"adapter.method": ("droplora",)}),
    }


@pytest.mark.parametrize(
    ("field", "domain"),
    [
        ("seed", "{values: [1, 2, 3]}"),
        ("task.num_train", "{values: [64, 128]}"),
        ("training.gradient_checkpointing", "{values: [true, false]}"),
        ("training.weight_decay", "{min: 0.0, max: 0.1, step: 0.05}"),
        ("adapter.rank", "{min: 1, max: 64, scale: log}"),
        ("adapter.mask", "{values: [token, step], when: {adapter.pruning_rate: [0.1, 0.2]}}"),
    ],
)
def test_any_scalar_field_of_a_trial_can_be_searched(write, field: str, domain: str) -> None:
    sweep = load_sweep(write(f"name: q\nsearch:\n  parameters:\n    {field}: {domain}\n"))

    assert list(sweep.search.parameters) == [field]


def test_local_folders_need_no_revision(write, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()

    sweep = load_sweep(write(f"name: q\nmodel: {{path: {tmp_path}/model}}\n"))

    assert sweep.model.path == f"{tmp_path}/model"


def test_a_folder_named_like_a_hub_id_is_the_folder(write, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "org/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert load_sweep(write("name: q\nmodel: {path: org/model}\n")).model.revision is None


def test_folders_of_another_machine_are_not_looked_for(write) -> None:
    file = write("name: q\nmodel: {path: /mnt/models/llama}\n")

    assert load_sweep(file, check_folders=False).model.path == "/mnt/models/llama"


def test_a_hub_id_with_its_commit(write) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"

    model = load_sweep(write(f"name: q\nmodel: {{path: org/m, revision: {commit}}}\n")).model

    assert (model.path, model.revision) == ("org/m", commit)


SEARCH_RANK = "name: q\nsearch:\n  parameters:\n    adapter.rank: {values: [4, 8]}\n"


def test_overrides_replace_values_in_order(write) -> None:
    sweep = load_sweep(
        write(SEARCH_RANK),
        [
            "name=r",
            "adapter.alpha=16",
            "adapter.alpha=1e1",
            "task.benchmarks=[builtin_math]",
            "group.max_groups=",
            "search.stopping={kind: asha, reduction_factor: 4}",
        ],
    )

    assert sweep.name == "r"
    assert sweep.adapter.alpha == 10.0
    assert sweep.task.benchmarks == ("builtin_math",)
    assert sweep.group.max_groups is None
    assert sweep.search.stopping == AshaSpec(reduction_factor=4)


def test_overrides_reach_into_the_search(write) -> None:
    parameters = load_sweep(
        write(SEARCH_RANK),
        [
            "search.parameters.adapter.rank=null",
            "search.parameters.adapter.alpha.values=[1, 2]",
            "search.parameters.adapter.alpha.ratio_of=adapter.rank",
            "search.parameters.adapter.alpha.when.adapter.method=droplora",
            "search.parameters.training.learning_rate={min: 1e-4, max: 1e-3, scale: log}",
            "adapter.rank=16",
        ],
    ).search.parameters

    assert parameters == {
        "adapter.alpha": Choice(
            values=(1, 2), ratio_of="adapter.rank", when={"adapter.method": ("droplora",)}
        ),
        "training.learning_rate": Range(min=1e-4, max=1e-3, scale="log"),
    }


def test_module_rates_are_given_and_searched_by_name(write) -> None:
    module, layer = "adapter.module_pruning_rates", "layers.0.mlp.up_proj"
    text = (
        f"name: q\nadapter:\n  module_pruning_rates: {{q_proj: 0.1, {layer}: 0.2}}\n"
        f"search:\n  parameters:\n    {module}.k_proj: {{min: 0.0, max: 0.5, step: 0.1}}\n"
    )
    sweep = load_sweep(
        write(text),
        [
            f"{module}.{layer}=0.3",
            f"search.parameters.{module}.k_proj.max=0.4",
            f"search.parameters.{module}.{layer}.values=[0.3, 0.6]",
            f"search.parameters.{module}.{layer}.when.{module}.k_proj=0.4",
            "adapter.lora_drop.threshold=0.5",
        ],
    )

    assert sweep.adapter.module_pruning_rates == {"q_proj": 0.1, layer: 0.3}
    assert sweep.adapter.lora_drop.threshold == 0.5
    assert sweep.search.parameters == {
        f"{module}.k_proj": Range(min=0.0, max=0.4, step=0.1),
        f"{module}.{layer}": Choice(values=(0.3, 0.6), when={f"{module}.k_proj": (0.4,)}),
    }


def test_an_override_may_hold_an_equals_sign(write) -> None:
    assert load_sweep(write("name: q\n"), ["storage=a=b"]).storage == "a=b"


def test_the_default_of_a_conditional_field_can_be_overridden(write) -> None:
    text = (
        "name: q\nsearch:\n  parameters:\n"
        "    adapter.mask: {values: [step], when: {adapter.method: droplora}}\n"
    )

    assert load_sweep(write(text), ["adapter.mask=step"]).adapter.mask == "step"


def test_faults_found_later_are_given_their_line(write, tmp_path: Path) -> None:
    file = load_sweep_file(
        write("name: q\ntask:\n  benchmarks:\n    - builtin_math\n    - builtin_code\n"),
        ["group.num_workers=64"],
    )
    found = InputError(
        [
            Fault("", "task.benchmarks[1]", "no such benchmark, got 'builtin_code'"),
            Fault("", "task.num_train", "leaves no examples"),
            Fault("", "group.num_workers", "must be at most 8, the cluster's CPUs, got 64"),
            Fault("data/train.json:3", "", "is no JSON"),
        ]
    )

    assert str(file.locate(found)).replace(f"{tmp_path}/", "").splitlines() == [
        "s.yaml:5: task.benchmarks[1]: no such benchmark, got 'builtin_code'",
        "s.yaml:2: task.num_train: leaves no examples",
        "--set group.num_workers=64: group.num_workers: "
        "must be at most 8, the cluster's CPUs, got 64",
        "data/train.json:3: is no JSON",
    ]


def test_models_built_in_python_follow_the_same_rules() -> None:
    with pytest.raises(ValueError, match=r"`min <= max` must hold, got min=2, max=1"):
        Range(min=2, max=1)
    with pytest.raises(ValueError, match="must not be empty"):
        Choice(values=())
