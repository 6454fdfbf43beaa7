"""Training and evaluation on device ``meta``: no operation has tensors of two devices.

Machines without a GPU run everything on one device, where a tensor that was left on the CPU does
no harm. On ``meta`` it is found as on a GPU, for the price of shapes alone.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache

from droplora_sweep.adapters.adapted import PeftAdapted
from droplora_sweep.adapters.attaching import attach
from droplora_sweep.evaluation.encoding import Encoded
from droplora_sweep.evaluation.generation import DrawnTokens, Sampling, pad_left
from droplora_sweep.evaluation.sequences import collate
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.spec import AdapterSpec
from droplora_sweep.spec.methods import METHODS
from droplora_sweep.spec.trial import ModelSpec
from droplora_sweep.training.loop import response_loss
from tests.training.architectures import CONFIGS, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

META = torch.device("meta")
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
"""Operations that bring a tensor to another device."""


READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default}


class OneDevice(TorchDispatchMode):
    """Fails on an operation whose tensors are on two devices, as a GPU would.

    A number on the CPU, a tensor without dimensions, may take part, as on a GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_on_meta = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        devices = {one.device for one in given if one.dim() or one.device == META}
        self.num_on_meta += META in devices
        if func not in MOVES and len(devices) > 1:
            raise AssertionError(f"{func} has tensors on {sorted(map(str, devices))}")
        if func in READS and devices == {META}:
            # Transformers asks if positions begin anew anywhere, or if nothing is padding.
            assert given[0].dtype == torch.bool, "no other number is read"
            return True
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["sdpa", "eager"])
def base(request: pytest.FixtureRequest) -> PreTrainedModel:
    return load_base_model(ModelSpec(attention=request.param), META)


@contextlib.contextmanager
def one_device() -> Iterator[None]:
    with OneDevice() as mode:
        yield
    assert mode.num_on_meta > 100, "something was computed there"


def train_step(model: Any, *, num_sequences: int = 3) -> None:
    """Forward and backward of a micro-batch, as the loop has them."""
    sequences = [Encoded(np.arange(1, 20 + index), 8) for index in range(num_sequences)]
    micro = collate(sequences, 0, META)
    model.train()
    output = model(input_ids=micro.inputs, logits_to_keep=micro.kept, use_cache=False)
    (response_loss(output.logits, micro.labels) / 10).backward()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert trained
    assert {weight.grad.device for weight in trained if weight.grad is not None} == {META}


def decode(model: Any, head: Callable[..., Any] | None = None) -> None:
    """Prefill and two tokens more, greedy or drawn, of prompts of unequal lengths."""
    tokens, mask = pad_left([[1, 2, 3], [1, 2, 3, 4, 5]], 0, META)
    model.eval()
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        for _ in range(3):
            logits = model(
                input_ids=tokens[:, cache.get_seq_length() :],
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            scores = logits if head is None else head(tokens, logits)
            tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


MASKS = ("token", "sample", "step", "learned")
# What decomposes or keeps the base's weights needs their numbers.
TRAINED = [
    (name, mask)
    for name, method in METHODS.items()
    for mask in MASKS
    if not (method.starts_from_base or method.changes_base)
    and not (mask == "learned" and method.no_gate)
]


@pytest.mark.parametrize(("method", "mask"), TRAINED)
def test_every_method_and_mask_trains_and_decodes_on_one_device(
    method: str, mask: Any, base: PreTrainedModel
) -> None:
    spec = AdapterSpec(method=method, rank=8, pruning_rate=0.4, mask=mask)
    with one_device():
        adapted = attach(base, spec, 1)
        for step in range(2):
            adapted.set_step(step, 4)
            train_step(adapted.model)
        decode(adapted.model)
        adapted.detach()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_architecture(name: str) -> None:
    # In the precision of GPUs: for experts in float32 meta has no product.
    base = make(name, "meta").requires_grad_(False).to(torch.bfloat16)
    spec = AdapterSpec(rank=4, pruning_rate=0.4, target_modules=CONFIGS[name][1])
    with one_device():
        adapted = attach(base, spec, 1)
        adapted.set_step(0, 4)
        train_step(adapted.model)
        decode(adapted.model)
        adapted.detach()


def test_gradient_checkpointing_too(base: PreTrainedModel) -> None:
    with one_device():
        adapted = attach(base, AdapterSpec(rank=8, pruning_rate=0.4, mask="step"), 1)
        base.activation_checkpointing_enable()
        adapted.set_step(0, 4)
        train_step(adapted.model)
        base.activation_checkpointing_disable()
        adapted.detach()


def test_weights_that_are_decomposed_train_on_one_device_once_they_are(
    base: PreTrainedModel,
) -> None:
    """PiSSA and MiLoRA train LoRA, of another start."""
    spec = AdapterSpec(method="pissa", rank=8, pruning_rate=0.4)
    with one_device():
        adapted = PeftAdapted(base, spec, 1, options={})
        adapted.set_step(0, 4)
        train_step(adapted.model)
        decode(adapted.model)
        adapted.detach()


def test_drawn_tokens(base: PreTrainedModel) -> None:
    with one_device():
        decode(base, DrawnTokens(Sampling(0.8, 0.9, (1, 2)), 5, 8))


def test_a_tensor_that_was_left_behind_is_found(base: PreTrainedModel) -> None:
    """The control: a mask on the CPU, which costs nothing where all is on the CPU."""

    def forgetful(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * torch.ones(output.shape[-1])

    adapted = attach(base, AdapterSpec(rank=8), 1)
    [layer, *_] = [one for name, one in base.named_modules() if name.endswith("down_proj")]
    handle = layer.register_forward_hook(forgetful)
    with OneDevice(), pytest.raises(AssertionError, match=r"has tensors on \['cpu', 'meta'\]"):
        train_step(adapted.model)
    handle.remove()
    adapted.detach()
