"""The README.md that goes with every adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .records import TrialRecord

_CARD = """\
---
{head}---

# {trial_id} of the sweep {sweep}

{method} of rank {rank} on `{base}`, trained on {task}. Its files are those of a plain LoRA
adapter: nothing is pruned at inference.

## Validation scores

{scores}

Scores of one training run with seed {seed}, on the split that the sweep selects on.

## Settings

```yaml
{spec}```

Fingerprint: `{fingerprint}`

## Loading

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base!r}{revision})
model = PeftModel.from_pretrained(base, "path/of/this/folder")
```
{builtin_note}"""

_BUILTIN_NOTE = """
`builtin` is the small Llama that comes with droplora-sweep, in its folder `models/builtin`.
"""


def model_card(trial: TrialRecord, sweep_name: str, metrics: Mapping[str, float]) -> str:
    """Markdown with the metadata the Hugging Face Hub reads, settings, scores and how to load."""
    spec = trial.spec
    adapter, model = spec["adapter"], spec["model"]
    head = {
        "base_model": model["path"],
        "library_name": "peft",
        "tags": sorted({"lora", adapter["method"]}),
        "pruning_rate": adapter["pruning_rate"],
        "mask": adapter["mask"],
    }
    return _CARD.format(
        head=yaml.safe_dump(head, sort_keys=False),
        trial_id=trial.trial_id,
        sweep=sweep_name,
        method=_method(adapter),
        rank=adapter["rank"],
        base=model["path"],
        revision=f", revision={model['revision']!r}" if model["revision"] else "",
        task=", ".join(spec["task"]["benchmarks"]),
        scores=_scores(metrics),
        seed=spec["seed"],
        spec=yaml.safe_dump(dict(spec), sort_keys=False),
        fingerprint=trial.fingerprint,
        builtin_note=_BUILTIN_NOTE if model["path"] == "builtin" else "",
    )


def _method(adapter: Mapping[str, Any]) -> str:
    if adapter["pruning_rate"] == 0:
        return "LoRA (no pruning)"
    return f"DropLoRA (pruning rate {adapter['pruning_rate']:g}, mask per {adapter['mask']})"


def _scores(metrics: Mapping[str, float]) -> str:
    scores = {name: value for name, value in metrics.items() if name.startswith("val/")}
    if not scores:
        return "None was reported."
    rows = [f"| {name.removeprefix('val/')} | {scores[name]:.4f} |" for name in sorted(scores)]
    return "\n".join(["| benchmark | score |", "|---|---|", *rows])
