"""The choice of the layers that LoRA-drop keeps."""

from __future__ import annotations

import pytest
import torch

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.adapters.methods.lora_drop import kept_layers
from droplora_sweep.errors import TrialError
from tests.adapters.training import trial

OUTPUTS = {
    "0.q": 5.0,
    "1.q": 3.0,
    "2.q": 1.5,
    "3.q": 0.5,
    "0.up": 100.0,
    "1.up": 100.0,
    "2.up": 100.0,
}


@pytest.mark.parametrize(
    ("threshold", "kept_q"),
    [(0.3, {"0.q"}), (0.5, {"0.q"}), (0.6, {"0.q", "1.q"}), (0.8, {"0.q", "1.q"})],
)
def test_the_fewest_layers_that_reach_the_share_of_their_kind(threshold, kept_q) -> None:
    assert {name for name in kept_layers(OUTPUTS, threshold) if ".q" in name} == kept_q


def test_a_layer_that_would_share_with_no_other_keeps_its_own() -> None:
    assert "3.q" in kept_layers(OUTPUTS, 0.9)
    assert {name for name in kept_layers(OUTPUTS, 0.5) if "up" in name} == {
        "0.up",
        "1.up",
        "2.up",
    }


def test_a_threshold_of_one_keeps_every_layer() -> None:
    assert kept_layers(OUTPUTS, 1.0) == set(OUTPUTS)


def test_the_measure_is_the_mean_squared_norm_of_the_update(base, tokens) -> None:
    adapted = attach(base, trial(method="lora_drop", target_modules=("q_proj",)).adapter, 1)
    inputs = {}
    for layer in adapted._layers.values():
        torch.nn.init.normal_(layer.lora_B["default"].weight)
        layer.register_forward_pre_hook(lambda layer, x: inputs.update({layer: x[0]}))
    counted = torch.rand(tokens.shape) > 0.4
    with torch.no_grad(), adapted.measured() as meter:
        meter.counted_BT = counted
        adapted.model(tokens)
    for (total, number), layer in zip(meter.sum_L2, adapted._layers.values(), strict=True):
        delta = layer.get_delta_weight("default")
        expected = (inputs[layer] @ delta.T).square().sum(-1)[counted].sum()
        torch.testing.assert_close(total.float(), expected, rtol=1e-5, atol=0)
        assert number == counted.sum()


def test_without_any_output_nothing_can_be_chosen(base) -> None:
    adapted = attach(base, trial(method="lora_drop").adapter, 1)
    with pytest.raises(TrialError, match="measured no output at all"):
        adapted.drop_layers(torch.tensor([[0.0, 5.0]] * 10))
