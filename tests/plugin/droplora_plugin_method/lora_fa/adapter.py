"""The adapter of LoRA-FA: A stays as it was drawn, and B is trained."""

from typing import Any

from droplora_sweep.adapters.adapted import PeftAdapted


class LoraFa(PeftAdapted):
    """LoRA whose A is frozen; saved as plain LoRA."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for name, weight in self.model.named_parameters():
            if ".lora_A." in name:
                weight.requires_grad = False
