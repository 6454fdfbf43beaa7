"""Errors that the pool raises for the driver, in a Ray."""

from __future__ import annotations

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.groups.pool import ask, start_pool
from droplora_sweep.spec import GroupSpec

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def test_a_group_that_cannot_start_is_told_in_one_line() -> None:
    pool = start_pool("errors", GroupSpec())
    ask(pool, "check")
    for _ in range(4):
        ask(pool, "lose_controller", "g0", "no model.safetensors")
    with pytest.raises(SweepError) as caught:
        ask(pool, "check")
    assert str(caught.value) == (
        "group g0 died 3 times before it could train: no model.safetensors"
    )
