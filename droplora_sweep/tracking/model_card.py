"""The README.md that goes with what a trial saves: an adapter, or a full model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from droplora_sweep.spec import AdapterSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .records import TrialRecord

_CARD = """\
---
{head}---

# {trial_id} of the sweep {sweep}

{what}

## Validation scores

{scores}

Scores of one training run with seed {seed}, on the split that the sweep selects on; responses were
read by the `{protocol}` protocol.{perplexity}

## Settings

```yaml
{spec}```

Fingerprint: `{fingerprint}`

## Loading

```python
{loading}
```
{notes}"""

_LOAD_ADAPTER = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base!r}{revision}, dtype="{dtype}")
model = PeftModel.from_pretrained(base, "path/of/this/folder"{precision})"""

_LOAD_FULL_MODEL = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder", dtype="{dtype}")
tokenizer = AutoTokenizer.from_pretrained({base!r}{revision})"""

_BUILTIN_NOTE = """
`builtin` is the small Llama that comes with droplora-sweep, in its folder `models/builtin`.
"""

_QUANTIZED_NOTE = """
The base model was held in {bits} bits (bitsandbytes) while the adapter was trained and scored; in
{dtype} its scores differ a little.
"""

_NAMES = {
    "droplora": "LoRA",
    "lora": "LoRA",
    "dora": "DoRA",
    "pissa": "PiSSA",
    "milora": "MiLoRA",
    "rslora": "rsLoRA",
    "lora_drop": "LoRA-drop",
    "full": "Full fine-tuning",
}

_MASKS = {
    "token": "mask per token",
    "sample": "mask per sequence",
    "step": "mask per step",
    "learned": "learned mask",
}

_AT_TWICE_THE_RANK = "a plain LoRA adapter for the original base, saved at twice the rank"
_FILES = {
    "dora": "a DoRA adapter as PEFT has it",
    "rslora": "a LoRA adapter that PEFT scales by alpha / sqrt(rank)",
    "pissa": _AT_TWICE_THE_RANK,
    "milora": _AT_TWICE_THE_RANK,
    "lora_drop": "a plain LoRA adapter, with what layers share written out for each",
}


def model_card(trial: TrialRecord, sweep_name: str, metrics: Mapping[str, float]) -> str:
    """Markdown with the metadata the Hugging Face Hub reads, settings, scores and how to load."""
    spec = trial.spec
    adjusted = "".join(
        f"\nIt went on with `{path}: {value}` when it ran out of memory.\n"
        for path, value in trial.adjusted.items()
    )
    adapter = AdapterSpec.model_validate(spec["adapter"])
    model = ModelSpec.model_validate(spec["model"])
    loading = _LOAD_FULL_MODEL if adapter.method == "full" else _LOAD_ADAPTER
    return _CARD.format(
        head=yaml.safe_dump(_metadata(adapter, model), sort_keys=False),
        trial_id=trial.trial_id,
        sweep=sweep_name,
        what=_what(adapter, model, spec["task"]["benchmarks"]),
        scores=_scores(metrics),
        seed=spec["seed"],
        protocol=spec["evaluation"]["protocol"],
        perplexity=_perplexity(metrics),
        spec=yaml.safe_dump(dict(spec), sort_keys=False),
        fingerprint=trial.fingerprint,
        loading=loading.format(
            base=model.path,
            revision=f", revision={model.revision!r}" if model.revision else "",
            dtype=model.dtype,
            # PEFT would load a bfloat16 adapter in float32, and its scores would differ.
            precision="" if model.dtype == "float32" else ", autocast_adapter_dtype=False",
        ),
        notes=_notes(model) + adjusted,
    )


def _metadata(adapter: AdapterSpec, model: ModelSpec) -> dict[str, Any]:
    if adapter.method == "full":
        return {
            "base_model": model.path,
            "base_model_relation": "finetune",
            "library_name": "transformers",
            "tags": ["full-fine-tuning"],
        }
    return {
        "base_model": model.path,
        "library_name": "peft",
        "tags": sorted({"lora", adapter.method, *(("droplora",) if adapter.is_pruned else ())}),
        "pruning_rate": adapter.pruning_rate,
        "mask": adapter.mask,
    }


def _what(adapter: AdapterSpec, model: ModelSpec, benchmarks: list[str]) -> str:
    task = f"trained on {', '.join(benchmarks)}"
    if adapter.method == "full":
        return (
            f"{_method(adapter)} of `{model.path}`, {task}. Its files are those of a full model, "
            "not of an adapter."
        )
    files = _FILES.get(adapter.method, "a plain LoRA adapter")
    if adapter.is_pruned and adapter.mask == "learned":
        inference = "what the mask drops is zero in its weights"
    else:
        inference = "nothing is pruned at inference"
    return (
        f"{_method(adapter)} of rank {adapter.rank} on `{model.path}`, {task}. Its files are those "
        f"of {files}: {inference}."
    )


def _method(adapter: AdapterSpec) -> str:
    """The method as the literature writes it, and how it was pruned."""
    name = _NAMES[adapter.method]
    if adapter.method == "full":
        return name
    if not adapter.is_pruned:
        return f"{name} (no pruning)"
    pruned = "DropLoRA" if name == "LoRA" else f"{name} with the mask of DropLoRA"
    modules = "".join(
        f", {rate:g} in {module}" for module, rate in adapter.module_pruning_rates.items()
    )
    schedule = adapter.pruning_schedule
    rise = "" if schedule == "constant" else f", {schedule} schedule"
    return (
        f"{pruned} (pruning rate {adapter.pruning_rate:g}{modules}{rise}, {_MASKS[adapter.mask]})"
    )


def _notes(model: ModelSpec) -> str:
    notes = _BUILTIN_NOTE if model.path == "builtin" else ""
    if model.quantization != "none":
        bits = model.quantization.removesuffix("bit")
        notes += _QUANTIZED_NOTE.format(bits=bits, dtype=model.dtype)
    return notes


def _perplexity(metrics: Mapping[str, float]) -> str:
    """What was forgotten, where a held-out text was read."""
    if "perplexity/ratio" not in metrics:
        return ""
    before, after = metrics["perplexity/before"], metrics["perplexity/after"]
    return (
        f"\nPerplexity of a held-out text: {before:.4g} before training and {after:.4g} after it."
    )


def _scores(metrics: Mapping[str, float]) -> str:
    scores = {name: value for name, value in metrics.items() if name.startswith("val/")}
    if not scores:
        return "None was reported."
    rows = [f"| {name.removeprefix('val/')} | {scores[name]:.4f} |" for name in sorted(scores)]
    return "\n".join(["| benchmark | score |", "|---|---|", *rows])
