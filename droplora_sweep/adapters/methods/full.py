"""Full fine-tuning: every weight of the base model is trained, and put back afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.adapters.adapted import Adapted, refuse_quantised
from droplora_sweep.adapters.export import save_full_model

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec
    from droplora_sweep.spec.trial import TrialSpec


class FullModel(Adapted):
    """The base model itself, trainable.

    A copy of every weight is kept, on the CPU, so that `detach` leaves the base model bit for bit
    as it was. What is saved is a whole model.

    Args:
        base: Frozen base model in evaluation mode.
        spec: Names the method; rank, alpha and targets have no meaning here.
        seed: Unused: nothing is drawn.

    Raises:
        InputError: The base model is quantised.
    """

    def __init__(self, base: PreTrainedModel, spec: AdapterSpec, seed: int) -> None:
        refuse_quantised(base, spec.method)
        self._base = base
        self.model = base
        self._originals = {
            name: parameter.detach().to("cpu", copy=True)
            for name, parameter in base.named_parameters()
        }
        base.requires_grad_(True)

    def set_step(self, step: int, num_steps: int) -> None:
        """Nothing is masked."""

    def note_start(self) -> None:
        """Take the copies that are kept anyway."""
        self._untrained = self._originals

    def save(self, folder: Path, trial: TrialSpec) -> None:
        """Write the whole model: config.json and safetensors shards of at most 5 GB."""
        save_full_model(folder, self._base, trial, self.facts)

    def detach(self) -> PreTrainedModel:
        """Freeze the base model and put its weights back."""
        self._base.requires_grad_(False)
        for name, parameter in self._base.named_parameters():
            # A training engine may have moved the values into a buffer of its own.
            parameter.data = self._originals[name].to(parameter.device)
            parameter.grad = None
        self._base.train(False)
        return self._base
