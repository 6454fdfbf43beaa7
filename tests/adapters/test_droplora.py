"""The masked layer against the formula written out in plain torch, for every mask."""

from __future__ import annotations

import itertools

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint

from droplora_sweep.adapters.droplora.layers import DropLoraConfig, set_step
from droplora_sweep.adapters.droplora.masks import (
    draw_dropped,
    draw_kept_ranks,
    learned_mask,
    rate_at,
)
from tests.adapters.reference import Reference

RANK, ALPHA, RATE, NUM_IN, NUM_OUT = 8, 16, 0.375, 12, 10
RANDOM_MASKS = ["token", "sample", "step"]
MASKS = [*RANDOM_MASKS, "learned"]


def layer(mask: str = "token", *, rate: float = RATE, **others) -> nn.Module:
    """One adapted linear layer, with a B that is not zero and gates that differ."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(NUM_IN, NUM_OUT)).requires_grad_(False)
    config = DropLoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=["0"],
        pruning_rate=rate,
        mask=mask,
        mask_seed=42,
        **others,
    )
    adapted = get_peft_model(model, config)
    linear = adapted.base_model.model[0]
    nn.init.normal_(linear.lora_B["default"].weight)
    if mask == "learned":
        nn.init.normal_(linear.lora_gate["default"])
    return adapted.train()


def formula(adapted: nn.Module) -> Reference:
    linear = adapted.base_model.model[0]
    base = linear.base_layer
    magnitude = None
    if "default" in linear.lora_magnitude_vector:
        magnitude = linear.lora_magnitude_vector["default"].weight
    A, B = linear.lora_A["default"].weight, linear.lora_B["default"].weight
    return Reference(base.weight, base.bias, A, B, ALPHA / RANK, magnitude)


def trainable(adapted: nn.Module) -> list[torch.Tensor]:
    return [p for p in adapted.parameters() if p.requires_grad]


def expected_mask(adapted: nn.Module, mask: str, shape, *, rescale: bool, step: int = 3):
    """The mask that the next forward pass uses, and the ranks that are kept for good."""
    scale = 1 / (1 - RATE) if rescale else 1.0
    if mask == "step":
        kept = draw_kept_ranks(42, "0", step, RANK, RATE)
        return torch.zeros(RANK).index_fill(0, kept, scale), 1.0
    if mask == "learned":
        gate = adapted.base_model.model[0].lora_gate["default"]
        best = gate.argsort(descending=True)[: round((1 - RATE) * RANK)]
        hard = torch.zeros(RANK).index_fill(0, best, 1.0)
        soft = gate.sigmoid()
        straight_through = (hard + soft - soft.detach()) * scale
        return straight_through, straight_through.detach()
    drawn = (*shape, RANK) if mask == "token" else (shape[0], *(1 for _ in shape[1:]), RANK)
    state = torch.get_rng_state()
    kept = ~draw_dropped(torch.Size(drawn), RATE, torch.device("cpu"))
    torch.set_rng_state(state)
    return kept * scale, 1.0


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("shape", [(4,), (3, 5), (1, 1)])
def test_forward_and_gradients_are_the_formulas(mask, rescale, shape, use_dora) -> None:
    adapted = layer(mask, rescale=rescale, use_dora=use_dora)
    x = torch.randn(*shape, NUM_IN, requires_grad=True)
    weight = torch.randn(*shape, NUM_OUT)
    set_step(adapted, 3)
    m, kept = expected_mask(adapted, mask, shape, rescale=rescale)

    y = adapted(x)
    expected = formula(adapted)(x, m, kept)
    torch.testing.assert_close(y, expected)
    wanted = [*trainable(adapted), x]
    ours = torch.autograd.grad((y * weight).sum(), wanted)
    theirs = torch.autograd.grad((expected * weight).sum(), wanted)
    assert len(ours) == 3 + use_dora + (mask == "learned")
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mask", RANDOM_MASKS)
@pytest.mark.parametrize("rescale", [True, False])
def test_expectation_over_masks(mask: str, rescale: bool) -> None:
    """Rescaled, the mean update is the unmasked one; not rescaled, 1 - p times it."""
    adapted = layer(mask, rescale=rescale)
    x = torch.randn(2, NUM_IN)
    outputs = []
    with torch.no_grad():
        for step in range(2000):
            set_step(adapted, step)
            outputs.append(adapted(x))
        factor = torch.tensor(1.0 if rescale else 1 - RATE)
        expected = formula(adapted)(x, factor)
    samples = torch.stack(outputs)
    standard_error = samples.std(0) / len(outputs) ** 0.5
    assert ((samples.mean(0) - expected).abs() < 5 * standard_error + 1e-6).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("mask", RANDOM_MASKS)
def test_share_of_dropped_entries_is_the_pruning_rate(mask: str, rate: float) -> None:
    """Within 5 standard deviations of the binomial distribution."""
    adapted = layer(mask, rate=rate)
    reference = formula(adapted)
    with torch.no_grad():
        reference.A.fill_(1.0)
        reference.B.copy_(torch.eye(NUM_OUT, RANK))
        if mask == "step":
            outputs = []
            for step in range(2000):
                set_step(adapted, step)
                outputs.append(adapted(torch.ones(1, NUM_IN)))
            output = torch.cat(outputs)
        else:
            output = adapted(torch.ones(8000, 1, NUM_IN)).flatten(0, 1)
        update = output - adapted.base_model.model[0].base_layer(torch.ones(NUM_IN))
    dropped = (update[:, :RANK].abs() < 1e-3).float().mean().item()
    num_drawn = update.shape[0] * RANK
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / num_drawn) ** 0.5


@pytest.mark.parametrize(
    ("mask", "in_sequence", "across_sequences"),
    [("token", False, False), ("sample", True, False), ("step", True, True)],
)
def test_what_shares_a_mask(mask: str, in_sequence: bool, across_sequences: bool) -> None:
    with torch.no_grad():
        y = layer(mask)(torch.ones(16, 32, NUM_IN))
    # Rows of one product may differ in their last bits; another mask moves them far more.
    assert torch.allclose(y, y[:, :1].expand_as(y), rtol=1e-5, atol=1e-6) == in_sequence
    assert torch.allclose(y, y[:1].expand_as(y), rtol=1e-5, atol=1e-6) == across_sequences


def test_step_masks_depend_on_seed_layer_and_step_alone() -> None:
    keys = list(itertools.product((1, 2), ("a", "b"), (0, 1, 2)))
    masks = [draw_kept_ranks(*key, 64, 0.5) for key in keys]
    assert len({tuple(mask.tolist()) for mask in masks}) == len(keys)
    torch.manual_seed(99)
    for key, mask in zip(reversed(keys), reversed(masks), strict=True):
        assert torch.equal(draw_kept_ranks(*key, 64, 0.5), mask)


def test_step_masks_leave_torchs_rng_alone() -> None:
    adapted = layer("step")
    before = torch.get_rng_state()
    set_step(adapted, 1)
    adapted(torch.ones(2, NUM_IN))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_resuming_at_a_step_draws_what_an_uninterrupted_run_draws(schedule: str) -> None:
    x = torch.ones(2, NUM_IN)
    uninterrupted, resumed = (layer("step", rate=0.5, pruning_schedule=schedule) for _ in range(2))
    outputs = []
    for step in range(5):
        set_step(uninterrupted, step, 6)
        outputs.append(uninterrupted(x))
    set_step(resumed, 4, 6)
    assert torch.equal(resumed(x), outputs[4])
    assert not torch.equal(outputs[3], outputs[4])


def test_a_step_in_which_every_rank_is_dropped_changes_nothing() -> None:
    adapted = layer("step", rate=0.99)
    reference = formula(adapted)
    x = torch.randn(2, 3, NUM_IN)
    step = next(s for s in range(50) if not len(draw_kept_ranks(42, "0", s, RANK, 0.99)))
    set_step(adapted, step)
    y = adapted(x)
    torch.testing.assert_close(y, reference(x, torch.zeros(RANK)))
    gradients = torch.autograd.grad(y.sum(), trainable(adapted))
    assert all(not gradient.any() for gradient in gradients)


def test_a_step_mask_follows_weights_that_change_without_a_new_step() -> None:
    """A caller that never calls `set_step` trains with one mask, but not with stale weights."""
    adapted = layer("step")
    x = torch.randn(4, NUM_IN)
    m, _ = expected_mask(adapted, "step", (4,), rescale=True, step=0)
    adapted(x).sum().backward()
    torch.optim.SGD(trainable(adapted), lr=0.01).step()
    torch.testing.assert_close(adapted(x), formula(adapted)(x, m))


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_recomputes_with_the_same_mask(
    mask: str, use_reentrant: bool, use_dora: bool
) -> None:
    adapted = layer(mask, lora_dropout=0.1, use_dora=use_dora)
    set_step(adapted, 2)
    x = torch.randn(4, NUM_IN, requires_grad=True)
    gradients = []
    for run in (adapted, lambda value: checkpoint(adapted, value, use_reentrant=use_reentrant)):
        torch.manual_seed(11)
        adapted.zero_grad()
        run(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in trainable(adapted)])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_evaluation_is_deterministic_and_only_a_learned_mask_stays(
    mask: str, rescale: bool, use_dora: bool
) -> None:
    adapted = layer(mask, lora_dropout=0.1, rescale=rescale, use_dora=use_dora).eval()
    x = torch.randn(3, NUM_IN)
    m, kept = torch.ones(RANK), 1.0
    if mask == "learned":
        m, kept = expected_mask(adapted, mask, (3,), rescale=rescale)
    torch.testing.assert_close(adapted(x), formula(adapted)(x, m, kept))
    assert torch.equal(adapted(x), adapted(x))


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("safe", [True, False])
def test_merging_agrees_with_evaluation_and_unmerging_takes_it_away(mask, safe, use_dora) -> None:
    adapted = layer(mask, use_dora=use_dora).eval()
    x = torch.randn(3, NUM_IN)
    expected = adapted(x)
    weight = adapted.base_model.model[0].base_layer.weight.clone()
    adapted.merge_adapter(safe_merge=safe)
    torch.testing.assert_close(adapted.train()(x), expected)
    adapted.unmerge_adapter()
    torch.testing.assert_close(adapted.base_model.model[0].base_layer.weight, weight)


@pytest.mark.parametrize("safe", [True, False])
def test_a_learned_mask_is_not_merged_while_it_trains(safe: bool) -> None:
    with pytest.raises(ValueError, match=r"must not be merged while it trains: call `eval\(\)`"):
        layer("learned").merge_adapter(safe_merge=safe)


def test_a_learned_mask_keeps_the_share_that_the_rate_leaves() -> None:
    gate = torch.tensor([0.1, 3.0, -2.0, 0.1])
    for rate, kept in [(0.0, [1, 1, 1, 1]), (0.25, [1, 1, 0, 1]), (0.5, [1, 1, 0, 0])]:
        assert learned_mask(gate, rate, rescale=False).tolist() == kept
    assert learned_mask(gate, 0.99, rescale=False).tolist() == [0, 1, 0, 0]


def test_learned_gates_change_what_is_kept() -> None:
    """The first ranks are kept at the start; a kept one that harms sinks below the others.

    It alone adds to the output, so that no other gate moves, however sums are rounded.
    """
    torch.manual_seed(0)
    adapted = layer("learned", rate=0.5)
    linear = adapted.base_model.model[0]
    gate = linear.lora_gate["default"]
    with torch.no_grad():
        for weight in (gate, linear.base_layer.weight, linear.base_layer.bias):
            weight.zero_()
        linear.lora_B["default"].weight.zero_()[:, 0] = 3.0
    optimizer = torch.optim.AdamW([gate], lr=0.05)
    for _ in range(50):
        adapted(torch.randn(16, NUM_IN)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert learned_mask(gate, 0.5, rescale=False).tolist() == [0, 1, 1, 1, 1, 0, 0, 0]


def test_schedules() -> None:
    def rates(schedule: str) -> list[float]:
        return [round(rate_at(step, 5, 0.8, schedule), 4) for step in range(5)]

    assert rates("constant") == [0.8] * 5
    assert rates("linear") == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert rates("cosine") == [0.0, 0.1172, 0.4, 0.6828, 0.8]
    assert rate_at(0, 1, 0.8, "linear") == 0.8


@pytest.mark.parametrize("mask", RANDOM_MASKS)
def test_a_schedule_starts_unmasked_and_ends_at_the_rate(mask: str) -> None:
    adapted = layer(mask, rate=0.5, pruning_schedule="linear")
    x = torch.randn(4, NUM_IN)
    set_step(adapted, 0, 3)
    torch.testing.assert_close(adapted(x), formula(adapted)(x, torch.ones(RANK)))
    set_step(adapted, 2, 3)
    constant = layer(mask, rate=0.5)
    set_step(constant, 2, 3)
    results = []
    for model in (adapted, constant):
        torch.manual_seed(1)
        results.append(model(x))
    assert torch.equal(*results)


def test_a_schedule_needs_the_number_of_steps() -> None:
    with pytest.raises(ValueError, match="`num_steps` must be given with `pruning_schedule: cos"):
        set_step(layer(pruning_schedule="cosine"), 0)


def test_rates_per_module() -> None:
    """A layer of rate 0 is PEFT's own; the longest key that names a layer counts."""
    torch.manual_seed(0)
    model = nn.ModuleDict({name: nn.ModuleDict({"q": nn.Linear(8, 8)}) for name in "abc"})
    adapted = get_peft_model(
        model,
        DropLoraConfig(
            r=4,
            target_modules=["q"],
            pruning_rate=0.5,
            module_pruning_rates={"a.q": 0.0, "q": 0.25},
        ),
    )
    layers = {name: adapted.base_model.model[name]["q"] for name in "abc"}
    assert layers["a"].lora_variant == {}
    assert layers["b"].lora_variant["default"].pruning_rate == 0.25
    assert layers["c"].lora_variant["default"].pruning_rate == 0.25


@pytest.mark.parametrize("use_dora", [False, True])
def test_an_unpruned_layer_beside_a_pruned_one_is_pefts(use_dora: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 8)
    results = []
    for config in (
        DropLoraConfig(
            r=4,
            target_modules=["0", "1"],
            use_dora=use_dora,
            module_pruning_rates={"1": 0.9},
        ),
        LoraConfig(r=4, target_modules=["0", "1"], use_dora=use_dora),
    ):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        adapted = get_peft_model(model, config)
        first = adapted.base_model.model[0]
        nn.init.normal_(first.lora_B["default"].weight)
        results.append(first(x))
    assert torch.equal(*results)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_pruning_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"`pruning_rate` must be in \[0, 1\), got"):
        DropLoraConfig(pruning_rate=rate)
    with pytest.raises(ValueError, match=r"`module_pruning_rates\['q'\]` must be in \[0, 1\)"):
        DropLoraConfig(module_pruning_rates={"q": rate})


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("mask", "row", "must be one of token, sample, step, learned, got 'row'"),
        ("pruning_schedule", "up", "must be one of constant, linear, cosine, got 'up'"),
    ],
)
def test_an_unknown_choice_is_refused(field: str, value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"`{field}` {problem}"):
        DropLoraConfig(**{field: value})


def test_what_has_no_rule_with_a_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="`pruning_rate` must be 0 with lora_bias"):
        layer(lora_bias=True)
    with pytest.raises(ValueError, match="`pruning_rate` must be 0 with ALoraLinearVariant"):
        layer(alora_invocation_tokens=[1])


def test_pefts_own_layers_refuse_a_mask_rather_than_ignore_it() -> None:
    model = get_peft_model(nn.Sequential(nn.Linear(4, 4)), LoraConfig(r=2, target_modules=["0"]))
    with pytest.raises(ValueError, match="unsupported variant combination"):
        model.add_adapter("pruned", DropLoraConfig(r=2, target_modules=["0"], pruning_rate=0.5))


def test_the_saved_configuration_is_plain_lora() -> None:
    ours = DropLoraConfig(
        r=4,
        target_modules=["0"],
        pruning_rate=0.5,
        mask="step",
        module_pruning_rates={"0": 0.1},
        pruning_schedule="cosine",
    )
    assert ours.to_dict() == LoraConfig(r=4, target_modules=["0"]).to_dict()
