"""Judgement of memory against the plan, without a GPU that could be measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.spec.methods import METHODS
from tests.gpu.allocated import Allocated
from tests.gpu.checks.memory import adapters, cases, fitting, planned, row
from tests.gpu.setting import BILLION, TINY, Setting

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("share", "outcome"), [(0.79, "failed"), (0.81, "passed"), (1.019, "passed"), (1.021, "failed")]
)
def test_more_than_planned_and_far_less_fail(setting: Setting, share: float, outcome: str) -> None:
    on_gpu = Setting(setting.size, "cuda", setting.folder)
    spec = on_gpu.trial()
    plan = planned(on_gpu, spec)
    assert plan.reserve > 0
    # The reserve is for what torch's allocator does not hold.
    used = round(share * (plan.training - plan.reserve))
    found = row("lora", used, plan, spec)
    assert found.outcome == outcome
    assert found.value == pytest.approx(share, rel=1e-3)


def test_a_micro_batch_is_halved_until_the_plan_lets_it_in(setting: Setting) -> None:
    whole = fitting(setting, {}, float("inf"))
    assert whole is not None
    assert whole.training.sequences_at_once == TINY.micro_batch
    needed = planned(setting, whole).peak
    half = fitting(setting, {}, needed - 1)
    assert half is not None
    assert half.training.sequences_at_once == TINY.micro_batch // 2
    assert fitting(setting, {}, planned(setting, half).peak - 1) is None


def test_every_method_has_a_case(setting: Setting) -> None:
    trained = {fields.get("method", "lora") for fields in adapters(setting).values()}
    assert trained == {method.canonical_name for method in METHODS.values()}


def test_layers_that_are_decomposed_are_the_last_ones(tmp_path: Path) -> None:
    assert adapters(Setting(BILLION, "cuda", tmp_path))["pissa"]["layers"] == "20-21"


def test_storages_are_counted_until_they_go() -> None:
    there = torch.zeros(1000)
    with Allocated([there]) as counter:
        kept = torch.ones(500)
        view = kept.view(50, 10).t()
        torch.ones(250).add(1)
        del kept
    assert counter.peak == 4 * (1000 + 500 + 2 * 250)
    with counter:
        # The view keeps its storage; what had no name is gone.
        torch.ones(600)
    assert counter.peak == 4 * (1000 + 500 + 600)
    assert view.shape == (10, 50)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["full", "lora_drop", "lora"])
def test_the_plan_holds_where_an_update_or_a_second_engine_is_the_most(
    name: str, tmp_path: Path
) -> None:
    """Sizes at which a whole model's update takes more than its activations."""
    config = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4}
    config |= {"num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1024}
    size = dataclasses.replace(TINY, config=config, sequence_tokens=128, rank=8)
    larger = Setting(size, "cpu", tmp_path)
    larger.prepare()
    [case] = [one for one in cases(larger) if one.name == name]
    [found] = case.run()
    assert found.outcome == "passed", found
    if name == "full":
        spec = fitting(larger, {"method": "full"}, float("inf"))
        assert spec is not None
        assert planned(larger, spec).update > 0
