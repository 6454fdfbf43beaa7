"""The masked layer against the formula written out in plain torch."""

from __future__ import annotations

import itertools

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint

from droplora_sweep.adapters import DropLoraConfig, set_step
from droplora_sweep.adapters.masks import draw_step_mask

RANK, ALPHA, RATE, NUM_IN, NUM_OUT = 8, 16, 0.4, 12, 10


def layer(mask: str = "token", *, rescale: bool = True, rate: float = RATE, **others) -> nn.Module:
    """One adapted linear layer, with a B that is not zero."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(NUM_IN, NUM_OUT)).requires_grad_(False)
    config = DropLoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=["0"],
        pruning_rate=rate,
        mask=mask,
        rescale=rescale,
        mask_seed=42,
        **others,
    )
    adapted = get_peft_model(model, config)
    nn.init.normal_(adapted.base_model.model[0].lora_B["default"].weight)
    return adapted.train()


def parts(adapted: nn.Module) -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    linear = adapted.base_model.model[0]
    return linear.lora_A["default"].weight, linear.lora_B["default"].weight, linear.base_layer


def reference(
    x: torch.Tensor, A: torch.Tensor, B: torch.Tensor, base: nn.Linear, mask: torch.Tensor
) -> torch.Tensor:
    """``y = W x + (alpha / r) B (m * A x)``."""
    return x @ base.weight.T + base.bias + (ALPHA / RANK) * (mask * (x @ A.T)) @ B.T


def token_mask(tokens: torch.Size, *, rescale: bool) -> torch.Tensor:
    """The mask that the next forward pass draws from torch's RNG."""
    keep = 1 - RATE
    state = torch.get_rng_state()
    mask = torch.empty(*tokens, RANK).bernoulli_(keep) / (keep if rescale else 1)
    torch.set_rng_state(state)
    return mask


def step_mask(step: int, *, rescale: bool) -> torch.Tensor:
    return draw_step_mask(42, "0", step, RANK, RATE, rescale)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("mask", ["token", "step"])
@pytest.mark.parametrize("shape", [(4,), (3, 5), (1, 1)])
def test_forward_and_gradients_are_the_formulas(mask: str, rescale: bool, shape) -> None:
    adapted = layer(mask, rescale=rescale)
    A, B, base = parts(adapted)
    x = torch.randn(*shape, NUM_IN, requires_grad=True)
    weight = torch.randn(*shape, NUM_OUT)
    set_step(adapted, 3)
    m = token_mask(shape, rescale=rescale) if mask == "token" else step_mask(3, rescale=rescale)

    y = adapted(x)
    expected = reference(x, A, B, base, m)
    torch.testing.assert_close(y, expected)
    ours = torch.autograd.grad((y * weight).sum(), [A, B, x])
    theirs = torch.autograd.grad((expected * weight).sum(), [A, B, x])
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mask", ["token", "step"])
@pytest.mark.parametrize("rescale", [True, False])
def test_expectation_over_masks(mask: str, rescale: bool) -> None:
    """Rescaled, the mean update is the unmasked one; not rescaled, 1 - p times it."""
    adapted = layer(mask, rescale=rescale)
    A, B, base = parts(adapted)
    x = torch.randn(2, NUM_IN)
    outputs = []
    with torch.no_grad():
        for step in range(4000):
            set_step(adapted, step)
            outputs.append(adapted(x))
        factor = torch.tensor(1.0 if rescale else 1 - RATE)
        expected = reference(x, A, B, base, factor)
    samples = torch.stack(outputs)
    standard_error = samples.std(0) / len(outputs) ** 0.5
    assert ((samples.mean(0) - expected).abs() < 5 * standard_error + 1e-6).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("mask", ["token", "step"])
def test_share_of_dropped_entries_is_the_pruning_rate(mask: str, rate: float) -> None:
    """Within 5 standard deviations of the binomial distribution."""
    if mask == "step":
        masks = torch.stack(
            [draw_step_mask(1, "layer", step, 32, rate, True) for step in range(2000)]
        )
    else:
        adapted = layer(rate=rate)
        A, B, base = parts(adapted)
        with torch.no_grad():
            A.fill_(1.0)
            B.copy_(torch.eye(NUM_OUT, RANK))
            update = adapted(torch.ones(8000, NUM_IN)) - base(torch.ones(NUM_IN))
        masks = update[:, :RANK]
    dropped = (masks.abs() < 1e-3).float().mean().item()
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / masks.numel()) ** 0.5


def test_a_token_mask_differs_between_tokens_and_a_step_mask_does_not() -> None:
    for mask, is_shared in (("token", False), ("step", True)):
        with torch.no_grad():
            y = layer(mask)(torch.ones(32, NUM_IN))
        assert torch.equal(y, y[:1].expand_as(y)) == is_shared


def test_step_masks_depend_on_seed_layer_and_step_alone() -> None:
    keys = list(itertools.product((1, 2), ("a", "b"), (0, 1, 2)))
    masks = [draw_step_mask(*key, 64, 0.5, True) for key in keys]
    assert len({tuple(mask.tolist()) for mask in masks}) == len(keys)
    torch.manual_seed(99)
    for key, mask in zip(reversed(keys), reversed(masks), strict=True):
        torch.testing.assert_close(draw_step_mask(*key, 64, 0.5, True), mask, rtol=0, atol=0)


def test_step_masks_leave_torchs_rng_alone() -> None:
    adapted = layer("step")
    before = torch.get_rng_state()
    set_step(adapted, 1)
    adapted(torch.ones(2, NUM_IN))
    assert torch.equal(before, torch.get_rng_state())


def test_resuming_at_a_step_draws_what_an_uninterrupted_run_draws() -> None:
    x = torch.ones(2, NUM_IN)
    uninterrupted, resumed = layer("step"), layer("step")
    outputs = []
    for step in range(5):
        set_step(uninterrupted, step)
        outputs.append(uninterrupted(x))
    set_step(resumed, 4)
    assert torch.equal(resumed(x), outputs[4])
    assert not torch.equal(outputs[3], outputs[4])


@pytest.mark.parametrize("mask", ["token", "step"])
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_recomputes_with_the_same_mask(
    mask: str, use_reentrant: bool
) -> None:
    adapted = layer(mask, lora_dropout=0.1)
    set_step(adapted, 2)
    x = torch.randn(4, NUM_IN, requires_grad=True)
    gradients = []
    for run in (adapted, lambda value: checkpoint(adapted, value, use_reentrant=use_reentrant)):
        torch.manual_seed(11)
        adapted.zero_grad()
        run(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in adapted.parameters() if p.requires_grad])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


@pytest.mark.parametrize("mask", ["token", "step"])
def test_evaluation_has_no_mask_and_is_deterministic(mask: str) -> None:
    adapted = layer(mask, lora_dropout=0.1).eval()
    A, B, base = parts(adapted)
    x = torch.randn(3, NUM_IN)
    torch.testing.assert_close(adapted(x), reference(x, A, B, base, torch.ones(RANK)))
    assert torch.equal(adapted(x), adapted(x))


@pytest.mark.parametrize("safe", [True, False])
def test_merging_adds_the_unmasked_update_and_unmerging_takes_it_away(safe: bool) -> None:
    adapted = layer()
    x = torch.randn(3, NUM_IN)
    expected = adapted.eval()(x)
    weight = parts(adapted)[2].weight.clone()
    adapted.merge_adapter(safe_merge=safe)
    torch.testing.assert_close(adapted.train()(x), expected)
    adapted.unmerge_adapter()
    torch.testing.assert_close(parts(adapted)[2].weight, weight)


def test_two_adapters_one_of_them_plain_on_the_same_layer() -> None:
    adapted = layer()
    adapted.add_adapter("plain", LoraConfig(r=RANK, target_modules=["0"]))
    adapted.set_adapter("plain")
    x = torch.randn(4, NUM_IN)
    assert torch.equal(adapted(x), adapted(x))
    adapted.set_adapter("default")
    assert not torch.equal(adapted(x), adapted(x))
    adapted.delete_adapter("default")
    assert torch.equal(adapted(x), adapted(x))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_pruning_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"`pruning_rate` must be in \[0, 1\), got"):
        DropLoraConfig(pruning_rate=rate)


def test_an_unknown_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="`mask` must be 'token' or 'step', got 'row'"):
        DropLoraConfig(mask="row")


def test_a_mask_with_dora_is_refused() -> None:
    with pytest.raises(ValueError, match="`pruning_rate` must be 0 with DoraLinearVariant"):
        layer(use_dora=True)


def test_the_saved_configuration_is_plain_lora() -> None:
    ours = DropLoraConfig(r=4, target_modules=["0"], pruning_rate=0.5, mask="step").to_dict()
    assert ours == LoraConfig(r=4, target_modules=["0"]).to_dict()
