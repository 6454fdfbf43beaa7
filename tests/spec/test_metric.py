"""``search.metric: auto``, resolved by what else a sweep says."""

from __future__ import annotations

from typing import Any

import pytest

from droplora_sweep.spec import SweepSpec

BITS, SCORE = "bits_per_byte/val/mean", "val/mean"


def made(**fields: Any) -> SweepSpec:
    return SweepSpec.model_validate({"name": "s", **fields})


def test_auto_follows_the_likelihood_and_chooses_finalists_by_it() -> None:
    sweep = made(search={"metric": "auto"}, confirm={})
    assert (sweep.search.metric, sweep.evaluation.likelihood) == (BITS, True)
    assert sweep.confirm is not None
    assert sweep.confirm.finalists == "likelihood"
    assert SweepSpec.model_validate(sweep.model_dump()) == sweep


def test_finalists_that_are_named_stay() -> None:
    sweep = made(search={"metric": "auto"}, confirm={"finalists": "posterior"})
    assert sweep.confirm is not None
    assert sweep.confirm.finalists == "posterior"


@pytest.mark.parametrize(
    "fields",
    [
        {"search": {"metric": "auto", "objectives": ["mean", "seconds"]}},
        {"search": {"metric": "auto", "budget": {"target_score": 0.5}}},
        {"search": {"metric": "auto"}, "evaluation": {"likelihood": False}},
    ],
    ids=["objectives", "target", "likelihood"],
)
def test_auto_is_the_score_where_the_likelihood_cannot_be_followed(fields: dict[str, Any]) -> None:
    sweep = made(**fields, confirm={})
    assert (sweep.search.metric, sweep.evaluation.likelihood) == (SCORE, False)
    assert sweep.confirm is not None
    assert sweep.confirm.finalists == "posterior"


def test_nothing_else_is_measured_unless_it_is_asked_for() -> None:
    sweep = made()
    assert (sweep.search.metric, sweep.evaluation.likelihood) == (SCORE, False)
