"""Precision and kernels of a sweep, where it leaves them to this package and where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from droplora_sweep.run.starting import with_choices_of
from droplora_sweep.spec import SweepSpec, TrialSpec, fingerprint

GPU = {"gpus_per_worker": 1}
REAL = {"path": "org/model", "revision": "0" * 40}


def made(model: dict[str, Any], group: dict[str, Any]) -> SweepSpec:
    return SweepSpec.model_validate({"name": "s", "model": model, "group": group})


@pytest.mark.parametrize("given", [{}, {"dtype": "auto"}])
def test_real_models_are_in_bfloat16_on_gpus(given: dict[str, str]) -> None:
    assert made({**REAL, **given}, GPU).model.dtype == "bfloat16"
    assert made({**REAL, **given}, {}).model.dtype == "float32"
    assert made(given, GPU).model.dtype == "float32", "the built-in model is small"


def test_a_precision_that_is_given_stays() -> None:
    assert made({**REAL, "dtype": "float32"}, GPU).model.dtype == "float32"
    assert made({**REAL, "dtype": "bfloat16"}, {}).model.dtype == "bfloat16"


def test_a_sweep_that_was_begun_keeps_its_precision() -> None:
    before = made({**REAL, "dtype": "float32"}, GPU)
    assert with_choices_of(before, made(REAL, GPU)).model.dtype == "float32"
    now = made({**REAL, "dtype": "bfloat16"}, GPU)
    assert with_choices_of(before, now).model.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("section", "field", "other"),
    [
        ("model", "attention", "eager"),
        ("training", "determinism", "strict"),
        ("training", "zero", {"stage": 3}),
        ("training", "zero", {"offload": "cpu"}),
    ],
)
def test_later_fields_count_where_they_are_used(section: str, field: str, other: Any) -> None:
    def digest(**given: Any) -> str:
        return fingerprint(TrialSpec.model_validate(given), {}, {}, num_workers=1)

    assert field not in str(getattr(TrialSpec(), section).canonical())
    assert digest() != digest(**{section: {field: other}})
