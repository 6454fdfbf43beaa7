"""Variants that can be compared fairly, and those that are refused with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from droplora_sweep.errors import InputError
from droplora_sweep.spec import load_sweep, variants

if TYPE_CHECKING:
    from pathlib import Path

METHODS = {"values": ["lora", "dora", "pissa"]}
RATES = {"values": [0.0, 0.2], "when": {"adapter.method": ["lora", "dora"]}}


def search(**fields: Any) -> dict[str, Any]:
    return {
        "compare": "adapter.method",
        "num_trials": 6,
        "stopping": {"kind": "none"},
        "parameters": {"adapter.method": METHODS},
        **fields,
    }


def load(folder: Path, fields: dict[str, Any]) -> Any:
    file = folder / "s.yaml"
    file.write_text(yaml.safe_dump({"name": "q", "search": fields}))
    return load_sweep(file)


def test_combinations_are_variants_where_they_exist(tmp_path: Path) -> None:
    parameters = {"adapter.method": METHODS, "adapter.pruning_rate": RATES}
    sweep = load(
        tmp_path,
        search(
            compare=["adapter.method", "adapter.pruning_rate"], num_trials=5, parameters=parameters
        ),
    )

    assert [tuple(variant.values()) for variant in variants(sweep)] == [
        ("lora", 0.0),
        ("lora", 0.2),
        ("dora", 0.0),
        ("dora", 0.2),
        ("pissa",),
    ]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"num_trials": 7},
            "search.num_trials: must be a multiple of 3, the variants of `search.compare`, so that "
            "each has as many trials, got 7",
        ),
        (
            {"stopping": {"kind": "asha"}},
            "search.stopping: must be `kind: none` with `search.compare`: a method that learns "
            "more slowly would be stopped for it, got asha",
        ),
        (
            {"sampler": "cma_es"},
            "search.sampler: must be tpe, gp or random with `search.compare`, got cma_es",
        ),
        (
            {"compare": ["adapter.rank"]},
            "search.compare[0]: must be searched over `values`, without `ratio_of`, got "
            "'adapter.rank'",
        ),
        (
            {"compare": ["adapter.method", "adapter.method"]},
            "search.compare[1]: must differ from the others, got 'adapter.method' twice",
        ),
        (
            {
                "compare": "adapter.pruning_rate",
                "parameters": {"adapter.method": METHODS, "adapter.pruning_rate": RATES},
            },
            "search.compare[0]: must have a `when` on compared fields alone, got adapter.method "
            "for 'adapter.pruning_rate'",
        ),
    ],
)
def test_what_cannot_be_compared_fairly_is_refused(
    fields: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, search(**fields))

    assert complaint in "\n".join(f"{one.field}: {one.problem}" for one in caught.value.faults)
