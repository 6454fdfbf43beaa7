"""Values that cannot be combined are refused over the whole space, with the reason and a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from droplora_sweep.spec import Choice, Range, SearchSpec, SweepSpec, load_sweep
from droplora_sweep.spec.rules.composition import combinations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refusal = Callable[..., list[str]]

RATE, MODULE = "adapter.pruning_rate", "adapter.module_pruning_rates"

NO_RANK = ", which has no rank dimension to prune, got 0.5; "
NO_GATE = ", whose dropped layers share one adapter but not one gate, got 'learned'; "
ON_QUANTIZED = "must be droplora, lora, dora, rslora or lora_drop with `model.quantization: "


def text(parameters: dict[str, Any] | None = None, **sections: Any) -> str:
    data = {"name": "q", **sections, "search": {"parameters": parameters or {}}}
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None)


def when(*methods: str) -> dict[str, Any]:
    return {"when": {"adapter.method": list(methods)}}


RATIO = "training.lora_plus_ratio"

FAULTS = {
    "full_with_a_rate_of_b": (
        3,
        text(adapter={"method": "full"}, training={"lora_plus_ratio": 16.0}),
        f"{RATIO}: must be 1 with `method: full`, which has no A and B, got 16.0; "
        "use e.g. lora or dora",
    ),
    "rate_of_b_searched_with_full": (
        6,
        text({"adapter.method": {"values": ["full", "lora"]}, RATIO: {"values": [1, 16]}}),
        f"search.parameters.{RATIO}: must be 1 where `adapter.method` is full, which has no A and "
        "B, got 16; add `when: {adapter.method: [lora]}`",
    ),
    "full_pruned": (
        2,
        text(adapter={"method": "full", "pruning_rate": 0.5}),
        f"{RATE}: must be 0 with `method: full`{NO_RANK}use e.g. lora or dora",
    ),
    "full_pruned_by_module": (
        4,
        text(adapter={"method": "full", "module_pruning_rates": {"mlp.up_proj": 0.5}}),
        f"{MODULE}.mlp.up_proj: must be 0 with `method: full`{NO_RANK}use e.g. lora or dora",
    ),
    "full_can_be_chosen": (
        2,
        text({"adapter.method": {"values": ["full", "lora"]}}, adapter={"pruning_rate": 0.5}),
        f"{RATE}: must be 0 where `adapter.method` is full{NO_RANK}"
        "search it instead, with `when: {adapter.method: [lora]}`",
    ),
    "rate_searched_with_full": (
        6,
        text({"adapter.method": {"values": ["full", "lora", "dora"]}, RATE: {"values": [0, 0.5]}}),
        f"search.parameters.{RATE}: must be 0 where `adapter.method` is full{NO_RANK}"
        "add `when: {adapter.method: [lora, dora]}`",
    ),
    "module_rate_searched_with_full": (
        6,
        text(
            {
                "adapter.method": {"values": ["full", "lora"]},
                f"{MODULE}.q_proj": {"min": 0.0, "max": 0.5, **when("full")},
            }
        ),
        f"search.parameters.{MODULE}.q_proj: must be 0 where `adapter.method` is full{NO_RANK}"
        "add `when: {adapter.method: [lora]}`",
    ),
    "default_where_the_rate_is_not_searched": (
        2,
        text(
            {
                "adapter.method": {"values": ["full", "lora"]},
                RATE: {"values": [0.1, 0.2], **when("lora")},
            },
            adapter={"pruning_rate": 0.5},
        ),
        f"{RATE}: must be 0 where `adapter.method` is full{NO_RANK}"
        "leave out this default, which trials have that do not search the field",
    ),
    "rate_is_a_ratio": (
        6,
        text(
            {
                "adapter.method": {"values": ["full", "lora"]},
                RATE: {"values": [10.0], "ratio_of": "adapter.dropout"},
                "adapter.dropout": {"values": [0.0, 0.05]},
            }
        ),
        f"search.parameters.{RATE}: must be 0 where `adapter.method` is full{NO_RANK}"
        "add `when: {adapter.method: [lora]}`",
    ),
    "full_inside_a_range": (
        7,
        text(
            {
                "adapter.method": {"values": ["full", "lora"]},
                "adapter.rank": {"min": 1, "max": 9, "step": 4},
                RATE: {
                    "values": [0.5],
                    "when": {"adapter.rank": 5, "adapter.method": ["full", "lora"]},
                },
            }
        ),
        f"search.parameters.{RATE}: must be 0 where `adapter.method` is full{NO_RANK}"
        "add `when: {adapter.method: [lora]}`",
    ),
    "lora_drop_gated": (
        2,
        text(adapter={"method": "lora_drop", "mask": "learned", "pruning_rate": 0.1}),
        f"adapter.mask: must be token, sample or step with `method: lora_drop`{NO_GATE}"
        "learned works with e.g. lora or dora",
    ),
    "lora_drop_gated_in_a_module": (
        2,
        text(
            {f"{MODULE}.q_proj": {"values": [0.0, 0.1]}},
            adapter={"method": "lora_drop", "mask": "learned"},
        ),
        f"adapter.mask: must be token, sample or step with `method: lora_drop`{NO_GATE}"
        "learned works with e.g. lora or dora",
    ),
    "lora_drop_can_be_chosen": (
        2,
        text(
            {"adapter.method": {"values": ["lora_drop", "lora"]}, RATE: {"values": [0, 0.5]}},
            adapter={"mask": "learned"},
        ),
        f"adapter.mask: must be token, sample or step where `adapter.method` is lora_drop{NO_GATE}"
        "search it instead, with `when: {adapter.method: [lora]}`",
    ),
    "learned_searched_with_lora_drop": (
        6,
        text(
            {
                "adapter.method": {"values": ["lora_drop", "lora", "dora"]},
                "adapter.mask": {"values": ["token", "learned"]},
                RATE: {"values": [0, 0.5]},
            }
        ),
        "search.parameters.adapter.mask: must be token, sample or step where `adapter.method` is "
        f"lora_drop{NO_GATE}add `when: {{adapter.method: [lora, dora]}}`",
    ),
    "quantized_pissa": (
        3,
        text(model={"quantization": "4bit"}, adapter={"method": "pissa"}),
        f"adapter.method: {ON_QUANTIZED}4bit`, got 'pissa', which takes its first values out of "
        "the base weights, stored in 4 bits",
    ),
    "quantized_milora": (
        3,
        text(model={"quantization": "8bit"}, adapter={"method": "milora"}),
        f"adapter.method: {ON_QUANTIZED}8bit`, got 'milora', which takes its first values out of "
        "the base weights, stored in 8 bits",
    ),
    "quantized_full_can_be_chosen": (
        6,
        text({"adapter.method": {"values": ["lora", "full"]}}, model={"quantization": "4bit"}),
        f"search.parameters.adapter.method.values[1]: {ON_QUANTIZED}4bit`, got 'full', which "
        "trains the base weights, stored in 4 bits",
    ),
}


@pytest.mark.parametrize(("line", "content", "problem"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_go_together_is_refused(
    refusal: Refusal, line: int, content: str, problem: str
) -> None:
    assert refusal(content) == [f"s.yaml:{line}: {problem}"]


@pytest.mark.parametrize(
    "content",
    [
        text(adapter={"method": "full"}),
        text(adapter={"method": "lora", "pruning_rate": 0.5}),
        text(adapter={"method": "full", "module_pruning_rates": {"q_proj": 0.0}}),
        text({"adapter.method": {"values": ["full", "lora"]}, RATE: {"values": [0]}}),
        text(
            {
                "adapter.method": {"values": ["full", "lora", "dora"]},
                RATE: {"values": [0, 0.5], **when("lora", "dora")},
            }
        ),
        text(
            {
                "adapter.method": {"values": ["full", "lora"]},
                "adapter.mask": {"values": ["token", "learned"], **when("lora")},
                RATE: {"values": [0.5], "when": {"adapter.mask": "learned"}},
            }
        ),
        text(adapter={"method": "lora_drop", "mask": "learned"}),
        text(adapter={"method": "lora_drop", "mask": "sample", "pruning_rate": 0.5}),
        text(
            adapter={"mask": "learned", "pruning_schedule": "cosine", "pruning_rate": 0.5},
        ),
        text(
            {"adapter.method": {"values": ["lora", "rslora", "dora", "lora_drop", "droplora"]}},
            model={"quantization": "4bit"},
        ),
    ],
)
def test_what_goes_together_is_accepted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(content)

    assert load_sweep(file).name == "q"


def test_a_faulty_method_brings_no_second_fault(refusal: Refusal) -> None:
    lines = refusal(text(adapter={"method": "whole", "pruning_rate": 0.5}))

    assert len(lines) == 1


def sweep(parameters: dict[str, Any], **adapter: Any) -> SweepSpec:
    return SweepSpec(name="q", adapter=adapter, search=SearchSpec(parameters=parameters))


def test_combinations_follow_every_when() -> None:
    space = sweep(
        {
            "adapter.method": Choice(values=("lora", "full")),
            RATE: Range(min=0.1, max=0.5, when={"adapter.method": ("lora",)}),
        }
    )

    found = list(combinations(("adapter.method", RATE), space))

    assert {(fields["adapter.method"], fields[RATE]) for fields in found} == {
        ("lora", 0.1),
        ("lora", 0.5),
        ("full", 0.0),
    }


def test_a_range_is_tried_beside_the_values_that_a_when_names() -> None:
    space = sweep(
        {
            "adapter.rank": Range(min=2, max=16, step=2),
            "adapter.mask": Choice(values=("step",), when={"adapter.rank": (2, 16)}),
        },
        mask="learned",
    )

    masks = {fields["adapter.mask"] for fields in combinations(("adapter.mask",), space)}

    assert masks == {"step", "learned"}


def test_a_field_that_only_decides_is_tried_once_for_each_way_it_can_decide() -> None:
    space = sweep(
        {
            "seed": Choice(values=tuple(range(1_000))),
            "adapter.mask": Choice(values=("step", "token"), when={"seed": (3,)}),
        }
    )

    found = list(combinations(("adapter.mask",), space))

    assert [fields["adapter.mask"] for fields in found] == ["token", "step", "token"]
