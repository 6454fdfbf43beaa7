"""Base models with what one trial trains on them."""

from __future__ import annotations

import contextlib
import re
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from peft import (
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.lora.layer import LoraLayer
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import load_file

from droplora_sweep.errors import InputError, TrialError
from droplora_sweep.spec.methods import method_of

from .droplora import DropLoraConfig, set_step, unmasked_layers
from .export import WEIGHTS_FILE, save_adapter
from .targets import choose_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec
    from droplora_sweep.spec.trial import TrialSpec

    from .targets import Chosen

ADAPTER = "default"
"""The adapter's name within PEFT."""


_INSIDE = re.compile(r"\.lora_(A|embedding_A|gate)\.")
"""Names of weights that B multiplies in the update: without B they change nothing."""


def droplora_config(
    spec: AdapterSpec, seed: int, chosen: Chosen, options: Mapping[str, Any] | None = None
) -> DropLoraConfig:
    """Return an adapter's PEFT configuration; with ``pruning_rate: 0`` that of PEFT's LoRA.

    Args:
        spec: The adapter.
        seed: The trial's seed.
        chosen: Layers that it adapts.
        options: Fields of ``LoraConfig`` in place of those of the spec's method.
    """
    others = method_of(spec.method).peft_options if options is None else options
    return DropLoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        # PEFT declares it an integer and computes with any number.
        lora_alpha=spec.with_alpha().alpha,  # type: ignore[arg-type]
        lora_dropout=spec.dropout,
        target_modules=chosen.target_modules,
        rank_pattern=chosen.rank_pattern,
        alpha_pattern=chosen.alpha_pattern,
        modules_to_save=chosen.modules_to_save or None,
        bias="none",
        pruning_rate=spec.pruning_rate,
        module_pruning_rates=dict(spec.module_pruning_rates),
        pruning_schedule=spec.pruning_schedule,
        mask=spec.mask,
        rescale=spec.rescale,
        mask_seed=seed,
        **others,
    )


class Adapted(ABC):
    """A base model as one trial trains it, evaluates it, saves it and undoes it.

    Attributes:
        model: The module that is trained and evaluated.
    """

    model: nn.Module
    _untrained: Mapping[str, torch.Tensor]

    @abstractmethod
    def set_step(self, step: int, num_steps: int) -> None:
        """Make ``step`` (0-based) of ``num_steps`` the optimiser step whose masks are used."""

    @abstractmethod
    def save(self, folder: Path, trial: TrialSpec) -> None:
        """Write what was trained into a folder that exists, for any PEFT or transformers.

        Raises:
            OSError: The file system refuses.
        """

    @abstractmethod
    def detach(self) -> PreTrainedModel:
        """Return the base model, the same object with the same values as before, bit for bit."""

    @property
    def facts(self) -> dict[str, Any]:
        """Decisions of the training, for the record; plain JSON."""
        return {}

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Make the decisions of an earlier training of the same trial, before anything is trained.

        The weights are then those of an untrained trial.

        Args:
            facts: `facts` of the earlier training; it may have been JSON in between.
        """
        assert not facts, f"{type(self).__name__} decides nothing, got {facts}"

    def start_from(self, folder: Path) -> None:
        """Take the values of a trained adapter, before anything is trained.

        Args:
            folder: What `save` of a trial with the same method, rank and targets has written.

        Raises:
            TrialError: It is not of the same shapes, or the method cannot start from one.
        """
        raise TrialError(f"{type(self).__name__} cannot start from an adapter")

    def has_learned(self) -> bool:
        """Return True where training has changed what the model computes since `note_start`.

        A of a LoRA may change by weight decay alone while B, and so the update, stays zero.
        """
        return any(
            (start := self._untrained.get(name)) is None or not torch.equal(weight.cpu(), start)
            for name, weight in self._decisive()
        )

    def note_start(self) -> None:
        """Take the weights as they are now for those that training starts from."""
        self._untrained = {name: weight.to("cpu", copy=True) for name, weight in self._decisive()}

    def _decisive(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the trained weights that alone can change what the model computes, by name."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and not _INSIDE.search(name):
                yield name, weight.detach()

    @property
    def num_trainable(self) -> int:
        """Numbers that are trained now; shared ones count once."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)


class PeftAdapted(Adapted):
    """A frozen base model with a PEFT adapter.

    The adapter is in the precision of the base weights; its first values depend on the
    configuration and the seed alone, and torch's RNG is left as it was. PEFT's default start: A
    Kaiming-uniform, B zero.

    Args:
        base: Frozen base model in evaluation mode, without an adapter.
        spec: The adapter.
        seed: The trial's seed.
        options: Fields of ``LoraConfig`` in place of those of the spec's method.

    Raises:
        InputError: The targets match no layer, or a layer that cannot be adapted or pruned.
    """

    def __init__(
        self,
        base: PreTrainedModel,
        spec: AdapterSpec,
        seed: int,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        config = droplora_config(spec, seed, choose_layers(base, spec), options)
        with seeded(seed, base.device):
            try:
                # Adapters stay in the base's dtype: DeepSpeed keeps the fp32 master weights.
                peft_model = get_peft_model(base, config, autocast_adapter_dtype=False)
            except ValueError as error:
                raise _target_fault(config, error) from error
        assert isinstance(peft_model, PeftModel)
        for weight in peft_model.parameters():
            if weight.requires_grad:
                # PEFT leaves adapters of quantised layers in fp32.
                weight.data = weight.data.to(base.dtype)
        self.peft_model = peft_model
        self.model = peft_model
        unmasked = unmasked_layers(peft_model, config)
        if unmasked:
            self.detach()
            raise _unprunable(unmasked)
        if spec.module_ranks and (others := _of_another_rank(peft_model, spec)):
            self.detach()
            problem = f"must name layers that can have a rank of their own, got those of {others}"
            raise InputError.of("adapter.module_ranks", problem)

    def set_step(self, step: int, num_steps: int) -> None:
        """Make ``step`` (0-based) of ``num_steps`` the optimiser step whose masks are used."""
        set_step(self.model, step, num_steps)

    def start_from(self, folder: Path) -> None:
        """Take a plain adapter's values; the base model's precision stays."""
        weights = load_file(folder / WEIGHTS_FILE)
        mine = get_peft_model_state_dict(self.peft_model, adapter_name=ADAPTER)
        shapes = {name: tensor.shape for name, tensor in mine.items()}
        if {name: tensor.shape for name, tensor in weights.items()} != shapes:
            raise TrialError("the adapter to start from has other shapes than the trial's")
        set_peft_model_state_dict(self.peft_model, weights, adapter_name=ADAPTER)

    def save(self, folder: Path, trial: TrialSpec) -> None:
        """Write the trained adapter, as any PEFT loads it."""
        save_adapter(
            folder,
            config=self.config_dict(),
            weights=self.weights(),
            trial=trial,
            facts=self.facts,
        )

    def config_dict(self) -> dict[str, Any]:
        """Return the adapter's configuration as it is saved."""
        saved: dict[str, Any] = self.peft_model.peft_config[ADAPTER].to_dict()
        return saved

    def weights(self) -> Mapping[str, torch.Tensor]:
        """Return the adapter's weights as they are saved, for the base model as it was."""
        state: dict[str, torch.Tensor] = get_peft_model_state_dict(
            self.peft_model, adapter_name=ADAPTER
        )
        return state

    def detach(self) -> PreTrainedModel:
        """Remove the adapter."""
        base = unloaded(self.peft_model)
        base.train(False)
        return base


PREFIX = "base_model.model."
"""Prefix that PEFT gives to the name of each module of the base model."""


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers with an adapter by their names in the base model."""
    return {
        name.removeprefix(PREFIX): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def saved_modules(model: nn.Module) -> list[ModulesToSaveWrapper]:
    """Return the modules that are trained whole, each with its original."""
    return [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]


def with_saved_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """Return the base model with a plain adapter from its files, in the base's precision."""
    with warnings.catch_warnings():
        # That PEFT calls what transformers deprecates is nothing to tell a user.
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(base, str(folder), autocast_adapter_dtype=False)


def _of_another_rank(model: nn.Module, spec: AdapterSpec) -> str:
    """Return the layers to which PEFT gave another rank than the spec, as it does to experts."""
    return ", ".join(
        name for name, layer in lora_layers(model).items() if layer.r[ADAPTER] != spec.rank_of(name)
    )


@contextlib.contextmanager
def saved_adapter(base: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """Yield the base model with a plain adapter from its files; it is as before afterwards."""
    adapted = with_saved_adapter(base, folder)
    try:
        yield adapted
    finally:
        unloaded(adapted)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from this seed, on the CPU and on ``device``; the RNGs are as before afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def unloaded(peft_model: PeftModel) -> PreTrainedModel:
    """Return the base model without the adapter, as if PEFT had never seen it."""
    for module in saved_modules(peft_model):
        # Else PEFT leaves what was trained in the model.
        module.set_adapter([])
    base: Any = peft_model.unload()
    if hasattr(base, "peft_config"):
        del base.peft_config
    bare: PreTrainedModel = base
    return bare


def refuse_quantised(base: PreTrainedModel, method: str) -> None:
    """Refuse a base model in 4 or 8 bits for a method that changes its weights.

    Raises:
        InputError: It is quantised.
    """
    if getattr(base, "is_quantized", False):
        problem = f"must be none with `method: {method}`, which changes the base weights"
        raise InputError.of("model.quantization", problem)


def _target_fault(config: DropLoraConfig, error: ValueError) -> InputError:
    """Return the fault of the file for what PEFT refuses to attach."""
    given = config.target_modules or ()
    targets = [given] if isinstance(given, str) else sorted(given)
    message = " ".join(str(error).split())
    if "unsupported variant combination" in message:
        return _unprunable(targets)
    rule = "match layers of the model" if "arget module" in message else "be layers it can adapt"
    problem = f"must {rule}, got {targets}: {message}"
    return InputError.of("adapter.target_modules", problem)


def _unprunable(layers: list[str]) -> InputError:
    problem = f"must match linear layers where the pruning rate is above 0, got {layers}"
    return InputError.of("adapter.target_modules", problem)
