"""The files of a trained adapter, as any PEFT loads them: no pickle, nothing of this package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from peft import get_peft_model_state_dict
from safetensors.torch import save

if TYPE_CHECKING:
    from peft import PeftModel

    from droplora_sweep.spec.trial import ModelSpec, TrialSpec

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CARD_FILE = "README.md"
SETTINGS_FILE = "droplora.json"


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _adapter_config(peft_model: PeftModel, model: ModelSpec) -> dict[str, Any]:
    config = peft_model.peft_config["default"].to_dict()
    config["base_model_name_or_path"] = model.path
    config["revision"] = model.revision
    config["inference_mode"] = True
    # Sets have no stable order across processes; the same adapter must give the same bytes.
    return {
        name: sorted(value) if isinstance(value, set) else value for name, value in config.items()
    }


def _model_card(spec: TrialSpec) -> str:
    adapter, training = spec.adapter, spec.training
    revision = f" at `{spec.model.revision}`" if spec.model.revision else ""
    if adapter.pruning_rate:
        scaled = "" if adapter.rescale else "not "
        mask = (
            f"Trained with DropLoRA (arXiv 2508.17337): each rank dimension dropped with "
            f"probability {adapter.pruning_rate:g}, a new mask per {adapter.mask}, what was kept "
            f"{scaled}divided by {1 - adapter.pruning_rate:g}. There is no mask at inference: "
            "this is a plain LoRA adapter."
        )
    else:
        mask = "Trained without a mask on the rank dimension: plain LoRA."
    dtype = (
        ""
        if spec.model.dtype == "float32"
        else "\nTrained and scored in bfloat16: load the base model in bfloat16 and pass\n"
        "`autocast_adapter_dtype=False` to reproduce its scores.\n"
    )
    return f"""---
library_name: peft
base_model: {json.dumps(spec.model.path)}
tags:
- lora
- droplora
---

# {adapter.method} adapter, rank {adapter.rank}, alpha {adapter.alpha:g}

{mask}

| | |
|---|---|
| base model | `{spec.model.path}`{revision}, {spec.model.dtype} |
| task | {spec.task.name}: {", ".join(spec.task.benchmarks)} |
| target modules | {", ".join(adapter.target_modules)} |
| dropout | {adapter.dropout:g} |
| learning rate | {training.learning_rate:g}, linear, {training.warmup_steps} warmup steps |
| epochs | {training.epochs} |
| global batch size | {training.global_batch_size} |
| seed | {spec.seed} |

```python
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "this/folder")
```
{dtype}"""


def adapter_files(peft_model: PeftModel, spec: TrialSpec) -> dict[str, bytes]:
    """The adapter as files in memory: name to content.

    The same weights and spec give the same bytes. Weights are saved as they were evaluated: in
    the base model's precision, not as the optimiser's fp32 master copies, so that a loaded
    adapter reproduces the scores that were logged for it.

    Args:
        peft_model: The trained model; its adapter may be on any device.
        spec: The trial, for the model card and for ``droplora.json``, which holds all of it.
    """
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(peft_model).items()
    }
    return {
        CONFIG_FILE: _json(_adapter_config(peft_model, spec.model)),
        WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
        CARD_FILE: _model_card(spec).encode(),
        SETTINGS_FILE: _json({"trial": spec.model_dump(mode="json")}),
    }
